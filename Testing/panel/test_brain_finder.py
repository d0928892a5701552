"""One button that finds the brain of a whole head; the package for it is a fake here."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

from host import press, pump
from scans import add_volume, settled

from ContrastSynthLib.phantom.sample import sample_patient

SIZE = (48, 56, 40)
WORKER = """
import json, sys
import numpy as np
from ContrastSynthLib.files.images import read_volume, write_volume
from pathlib import Path
given = dict(one[2:].split("=", 1) for one in sys.argv[2:])
scan = read_volume(given["volume"])
out = Path(given["out"])
out.parent.mkdir(parents=True, exist_ok=True)
write_volume(scan.with_array((scan.array > np.median(scan.array)).astype("float32"), None), out)
print(json.dumps({"schema_version": 1, "type": "result", "outputs": {"mask": out.name},
    "warnings": ["The brain was found."]}), flush=True)
"""


@pytest.fixture
def patient():
    return sample_patient(size=SIZE)


def whole_head(patient):
    """The sample brain in a head: a bright rim of fat around it, and noise in the air."""
    scan = patient.scans["post"]
    away = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in scan.array.shape), indexing="ij"))
    radius = np.linalg.norm(away, axis=0)
    rng = np.random.default_rng(0)
    array = np.where(scan.array > 0, scan.array, rng.rayleigh(8.0, scan.array.shape))
    rim = (radius > 0.86) & (radius < 0.97) & (scan.array <= 0)
    return scan.with_array(np.where(rim, 4.0 * np.median(scan.array[scan.array > 0]), array))


@pytest.fixture
def worker(tmp_path, monkeypatch):
    from ContrastSynthPanel import dependencies
    from ContrastSynthPanel.widgets import run_section

    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    monkeypatch.setattr(run_section, "Job", partial(run_section.Job, sys.executable, [str(script)]))
    monkeypatch.setattr(dependencies, "lacking", lambda *_groups: [])


def test_it_is_not_offered_for_a_stripped_brain(panel, patient):
    add_volume("T1 post", patient.scans["post"])
    settled(panel)
    pump(timeout_s=0.3)
    assert not panel.box.brain.widget.isVisible()


def test_the_brain_of_a_head_becomes_the_mask(panel, patient, worker):
    node = add_volume("T1 post", whole_head(patient))
    settled(panel)
    pump(lambda: panel.box.brain.run.apply_button.isVisible())
    press(panel.box.brain.run.apply_button)
    pump(lambda: not panel.box.brain.run.running, 20.0)
    mask = panel.box.case.node("mask")
    assert mask.GetName() == "Brain: T1 post"
    assert panel.box.selectors["mask"].widget.currentNode() is mask
    assert "The brain was found." in panel.box.brain.run.message.plainText
    inside = panel.box.case.mask_volume("mask", node).array
    assert 0 < inside.mean() < 1
    pump(lambda: not panel.box.brain.run.apply_button.isVisible())


def test_a_missing_package_is_installed_after_asking(host, panel, patient, monkeypatch):
    from ContrastSynthPanel import dependencies

    from ContrastSynthLib.errors import MissingError

    asked = []

    def declined(wanted):
        asked.append(wanted)
        raise MissingError("deepbet: not installed.")

    monkeypatch.setattr(dependencies, "lacking", lambda *groups: ["deepbet"])
    monkeypatch.setattr(dependencies, "install", declined)
    add_volume("T1 post", whole_head(patient))
    settled(panel)
    pump(lambda: panel.box.brain.run.apply_button.isVisible())
    press(panel.box.brain.run.apply_button)
    assert asked == [["deepbet"]]
    assert panel.box.brain.run.message.plainText == "deepbet: not installed."
    assert panel.box.case.node("mask") is None


def test_a_dynamic_series_is_no_head(panel):
    from ContrastSynthPanel.scene import sample_data

    sample_data.load_breast(size=(32, 32, 10))
    settled(panel)
    pump(timeout_s=0.3)
    assert not panel.box.brain.widget.isVisible()
