"""Virtual breasts for SPHERE: what their scans show, the slabs, and the table on them."""

from __future__ import annotations

import importlib
from functools import cache

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("training_path")

SIZE = (96, 96, 30)
SEED = 80_001


@pytest.fixture
def breasts():
    return importlib.import_module("data.breast_slices")


@cache
def scans():
    return importlib.import_module("data.breast_slices").breast_scans(SEED, SIZE)


def test_without_agent_the_post_scan_has_its_own_noise_and_no_enhancement():
    made = scans()
    difference = (made.post - made.unenhanced)[made.breast]
    rise = made.rise[made.breast]
    unit = difference.mean() / rise.mean()
    noise = (made.pre - made.unenhanced)[made.breast].std()
    assert (difference - unit * rise).std() < 0.2 * noise
    assert np.median(made.rise[made.lesions > 0]) > 0.3


def test_heart_and_lungs_are_left_out(breasts):
    made = scans()
    rows = breasts.rows_in_front(made.grid)
    y_mm = made.grid.origin_mm[1] + made.grid.spacing_mm[1] * np.arange(96)
    assert (y_mm[:rows] < 0).all()
    assert (y_mm[rows:] >= 0).all()
    assert made.breast[:, :rows].any()
    assert not made.breast[:, rows:].any()


def test_slabs_hold_the_roles_of_a_brain_slices_1_mm_apart(breasts, monkeypatch):
    monkeypatch.setattr(breasts, "SIZE", SIZE)
    monkeypatch.setattr(breasts, "breast_scans", lambda seed: scans())
    slabs = list(breasts.make_slabs(SEED))
    slabs_of = importlib.import_module("data.slabs")
    assert len(slabs) == breasts.SLABS
    for images in slabs:
        slab = slabs_of.Slab(images)
        named = dict(zip(slabs_of.ROLES, images.astype("f4"), strict=True))
        assert images.shape[1] == breasts.SLAB_MM
        inside = named["brain"] == 1
        assert (named["post"][named["brain"] == 0] == 0).all()
        assert np.isfinite(list(slab.levels.values())).all()
        assert (named["post"] - named["unenhanced"])[inside].mean() > 0
    assert any(len(slabs_of.Slab(images).lesions) for images in slabs)


def test_a_table_compares_with_the_scan_without_agent(monkeypatch, capsys, tmp_path):
    script = importlib.import_module("evaluate")
    breasts = importlib.import_module("evaluation.virtual_breasts")
    monkeypatch.setattr(breasts, "breast_scans", lambda seed: scans())
    words = ["--virtual", "breast", "--patients", "1", "--csv", str(tmp_path / "measured.csv")]
    words += ["--slab", "6", "--row", "nothing=nothing"]
    assert script.main([*words, "--table", "sphere_2"]) == 0
    printed = capsys.readouterr().out
    assert "virtual breasts" in printed
    assert "ceiling" in printed
    assert script.main([*words, "--table", "sphere_3"]) != 0
    assert "They serve sphere_2" in capsys.readouterr().err
    assert script.main([*words, "--table", "sphere_2", "--corrupt", "motion"]) != 0
    assert "--corrupt is of no use" in capsys.readouterr().err
