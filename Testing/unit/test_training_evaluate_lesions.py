"""Lesions by themselves: which there are, what is measured of each, and the halves of a table."""

from __future__ import annotations

import csv
import importlib

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.usefixtures("training_path")

SHAPE = (6, 48, 48)
SMALL, LARGE, VESSEL = (
    np.s_[1:5, 8:13, 8:13],
    np.s_[1:5, 8:18, 26:36],
    np.s_[0:6, 30:46, 8:38],
)


@pytest.fixture(scope="module")
def lesions():
    return importlib.import_module("evaluation.lesions")


def task_of(module, name):
    return getattr(importlib.import_module(f"evaluation.{module}"), name)


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("evaluate_lesions")


@pytest.fixture(scope="module")
def cases():
    return importlib.import_module("evaluation.cases")


@pytest.fixture
def scans(cases):
    """Tissue of 100 with noise; three places rise by 60, the large one shows in T2."""
    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, bool)
    brain[:, 4:-2, 4:-2] = True
    pre, t2 = (np.where(brain, 100 + rng.normal(0, 2, SHAPE), 0) for _ in range(2))
    post = pre.copy()
    for where in (SMALL, LARGE, VESSEL):
        post[where] += 60
    t2[LARGE] += 50

    def volume(array):
        return Volume(array.astype("f4"), Grid(SHAPE[::-1]))

    images = {"pre": volume(pre), "post": volume(post), "t2": volume(t2)}
    return cases.Scans(images, volume(brain))


def found_in(lesions, task, scans):
    return lesions.lesions_of(task, scans, lesions.rise_of(task, scans)({}))


def without_labels(lesions, scans):
    return sorted(
        found_in(lesions, task_of("enhance", "ENHANCE"), scans), key=lambda each: each.volume_ml
    )


def test_of_real_scans_the_largest_region_is_left_out(lesions, scans):
    small, large = without_labels(lesions, scans)
    assert small.volume_ml == pytest.approx(0.1, rel=0.05)
    assert large.volume_ml == pytest.approx(0.4, rel=0.05)
    assert large.contrast > 3 > 1 > small.contrast


def test_labelled_lesions_count_where_they_enhance(lesions, cases, scans):
    labels = np.zeros(SHAPE, np.uint8)
    labels[SMALL], labels[LARGE], labels[4:6, 8:13, 16:22] = 1, 2, 5
    known = cases.Scans(scans.scans, scans.mask, {"lesion": labels})
    task = task_of("post_to_pre", "POST_TO_PRE")
    found = found_in(lesions, task, known)
    assert [each.volume_ml for each in found] == pytest.approx([0.1, 0.4])
    # From post to pre it is the post scan that is given, in which both show.
    assert all(each.contrast > 2 for each in found)


def test_what_a_row_makes_of_a_lesion(lesions, scans):
    task = task_of("enhance", "ENHANCE")
    rise = lesions.rise_of(task, scans)
    true = rise({})
    _, large = without_labels(lesions, scans)
    assert large.measure(true, true) == {"lesion_found": 1.0, "lesion_error": 0.0}
    nothing = rise({"post": scans["pre"]})
    missed = large.measure(true, nothing)
    assert missed == {"lesion_found": 0.0, "lesion_error": pytest.approx(1, abs=0.02)}
    unit = np.percentile(scans["pre"].array[scans.brain], 99.9)
    half = scans["pre"].with_array(scans["pre"].array + unit * true / 2)
    faint = large.measure(true, rise({"post": half}))
    assert faint == {"lesion_found": 1.0, "lesion_error": pytest.approx(0.5, abs=0.01)}


def test_from_post_to_pre_the_agent_that_is_left_is_the_error(lesions, scans):
    task = task_of("post_to_pre", "POST_TO_PRE")
    rise = lesions.rise_of(task, scans)
    true = rise({})
    left = rise({"pre": scans["post"]})
    _, large = without_labels(lesions, scans)
    assert large.measure(true, left) == {"lesion_found": 0.0, "lesion_error": pytest.approx(1)}


def test_pairs_are_compared_with_the_target(lesions, cases, scans):
    task = task_of("matched_pairs", "MATCHED_PAIRS")
    case = scans.with_scan(cases.TARGET, scans["pre"])
    rise = lesions.rise_of(task, case)
    true = rise({})
    (_, large) = sorted(found_in(lesions, task, case), key=lambda each: each.volume_ml)
    assert large.measure(true, true)["lesion_error"] == 0
    assert large.measure(true, rise({"pre": scans["post"]})) == {
        "lesion_found": 0.0,
        "lesion_error": pytest.approx(1),
    }


def test_a_task_of_doses_has_no_lesions_here(lesions, scans):
    with pytest.raises(RequestError, match=r"'any dose'\. Take a table .* sphere_2 or enhance"):
        lesions.rise_of(task_of("any_dose", "ANY_DOSE"), scans)


def run(script, monkeypatch, scans, *more):
    item = importlib.import_module("evaluation.cases").Item("one", "one", lambda: scans)
    evaluate = importlib.import_module("evaluate")
    monkeypatch.setattr(evaluate, "chosen_items", lambda chosen, task: ("mine", [item]))
    words = ["--cases", ".", "--table", "enhance", "--row", "T1=t1", *more]
    return script.main(words)


def test_the_table_has_a_line_for_each_half(script, monkeypatch, scans, tmp_path, capsys):
    path = tmp_path / "lesions.csv"
    assert run(script, monkeypatch, scans, "--by", "volume_ml", "--csv", str(path)) == 0
    printed = capsys.readouterr().out
    assert "mine, 2 lesions" in printed
    assert "| T1, large | 0.000 | 1.0" in printed
    with path.open(newline="") as stream:
        lines = {line["label"]: line for line in csv.DictReader(stream)}
    assert set(lines) == {"T1, large", "T1, small"}
    assert float(lines["T1, large"]["volume_ml"]) > float(lines["T1, small"]["volume_ml"])
    assert run(script, monkeypatch, scans, "--by", "contrast") == 0
    assert "| T1, distinct |" in capsys.readouterr().out


def test_cases_without_lesions_are_told(script, monkeypatch, scans, capsys):
    assert run(script, monkeypatch, scans.with_scan("post", scans["pre"]), "--by", "contrast") == 2
    assert "None of the cases has a lesion" in capsys.readouterr().err
