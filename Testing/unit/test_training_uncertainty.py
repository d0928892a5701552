"""How well a map of uncertainty tells the errors: rankings and bins whose answer is known."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("training_path")

ERROR = np.random.default_rng(3).permutation(np.linspace(0, 1, 1000)).astype(np.float32)


@pytest.fixture(scope="module")
def module():
    return importlib.import_module("evaluation.uncertainty")


def test_the_share_of_the_error_in_the_most_uncertain_tenth(module):
    # Of errors from 0 to 1 the upper tenth holds 1 - 0.9^2, the lower one 0.1^2.
    assert module.share_in_top(ERROR, ERROR) == pytest.approx(0.19, abs=1e-3)
    assert module.share_in_top(ERROR, 7 * ERROR**2) == pytest.approx(0.19, abs=1e-3)
    assert module.share_in_top(ERROR, -ERROR) == pytest.approx(0.01, abs=1e-3)
    assert module.share_in_top(ERROR, ERROR, top=0.5) == pytest.approx(0.75, abs=1e-3)
    assert module.share_in_top(np.zeros(5), ERROR[:5]) is None


def test_ties_are_shared_and_an_uncertainty_that_tells_nothing_gives_a_tenth(module):
    assert module.share_in_top(ERROR, np.zeros(1000)) == pytest.approx(0.1)
    error, rank = np.array([9.0, 4, 2, 1, *[0] * 16]), np.array([2.0, 1, 1, 1, *[0] * 16])
    # Two voxels: the first, and one of three with a mean error of 7/3.
    assert module.share_in_top(error, rank) == pytest.approx((9 + 7 / 3) / 16)


def test_the_bins_hold_equally_many_voxels_in_the_order_of_the_uncertainty(module):
    uncertainty = 0.5 * ERROR
    expected, true = module.calibration(ERROR, uncertainty)
    middles = (np.arange(10) + 0.5) / 10
    np.testing.assert_allclose(true, middles, atol=2e-3)
    np.testing.assert_allclose(expected, 0.5 * middles, atol=2e-3)
    assert module.calibration(ERROR[:3], ERROR[:3])[0][3:] == [None] * 7


def test_the_three_rankings_are_not_mixed_up(module):
    found = module.measure_uncertainty(ERROR, -ERROR, np.ones(1000))
    assert found["error_in_worst"] == pytest.approx(0.19, abs=1e-3)
    assert found["error_in_uncertain"] == pytest.approx(0.01, abs=1e-3)
    assert found["error_in_bright"] == pytest.approx(0.1)
    assert found["error_1"] > found["error_10"]
    without = module.measure_uncertainty(ERROR, None, np.ones(1000))
    assert without["error_in_uncertain"] is without["uncertainty_1"] is without["error_1"] is None
    assert set(found) == set(without) == set(module.MEASURES)


def test_the_calibration_is_printed_for_rows_that_have_one(module):
    values = {name: "0.25" for name in module.UNCERTAINTY} | dict.fromkeys(module.ERROR, "0.5")
    one = {"label": "sphere", "patient": "p", **values}
    other = {"label": "sphere", "patient": "q", **values, "error_10": "1.5"}
    none = {"label": "clamp", "patient": "p", **dict.fromkeys(values, "")}
    lines = module.calibration_table([one, other, none], ["clamp", "sphere"]).splitlines()
    assert lines[0].startswith("| sphere, tenth of voxels | mean uncertainty (means")
    assert lines[2] == "| 1 | 0.2500 | 0.5000 |"
    assert lines[-1] == "| 10 | 0.2500 | 1.0000 |"
    assert len(lines) == 12


def test_the_uncertainty_is_measured_inside_the_brain_of_a_case(module):
    """An uncertainty that is the error itself ranks perfectly; outside it may be anything."""
    from ContrastSynthLib.geometry import Grid
    from ContrastSynthLib.volumes import Volume

    matched = importlib.import_module("evaluation.matched_pairs")
    cases = importlib.import_module("evaluation.cases")
    rng = np.random.default_rng(0)
    post = np.zeros((12, 14, 16))
    post[2:10, 2:12, 2:14] = rng.uniform(100, 300, (8, 10, 12))
    truth = post * rng.uniform(0.5, 1, post.shape)
    volume, grid = (lambda a: Volume(a, grid)), Grid((16, 14, 12), (1, 1, 1))
    scans = cases.Scans({"pre": volume(post), "post": volume(post)}, None, {"unenhanced": truth})
    case = matched.with_target(scans)
    made = post * rng.uniform(0.5, 1, post.shape)
    error = np.abs(made - truth) / post[post > 0].mean()
    uncertainty = np.where(post > 0, error, 9)
    outputs = {"pre": volume(made), "uncertainty": volume(uncertainty)}
    found = matched.measure(case, outputs, case.brain)
    assert found["error_in_uncertain"] == pytest.approx(found["error_in_worst"], rel=1e-5)
    assert found["error_in_uncertain"] > found["error_in_bright"] + 0.05
    for number in range(1, 11):
        assert found[f"uncertainty_{number}"] == pytest.approx(found[f"error_{number}"], rel=1e-4)
