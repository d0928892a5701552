"""Faults planted in a copy of the panel: each turns the test that is named beside it red."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("ContrastSynth", "ContrastSynthLib", "Resources", "Testing", "pyproject.toml")
PANEL = "ContrastSynth/ContrastSynthPanel"
SYNTHESISE, BRIDGE = "Testing/panel/test_synthesise.py", "Testing/mrml/test_bridge.py"
UPTAKE = "Testing/panel/uptake/test_uptake.py"
HABITS = "Testing/panel/test_workflow_habits.py"
FAILED = 1  # pytest's exit code when a test failed, not when there was none


class Fault(NamedTuple):
    """In ``file``, ``right`` becomes ``wrong``: then ``test`` is red."""

    file: str
    right: str
    wrong: str
    test: str


FAULTS = {
    "Apply not connected": Fault(
        f"{PANEL}/widgets/action.py",
        'connect(self.button, "clicked(bool)", lambda *_signal: pressed())',
        "pass",
        f"{SYNTHESISE}::test_a_dose_is_what_the_library_makes_of_it",
    ),
    "mask inverted": Fault(
        f"{PANEL}/scene/bridge.py",
        "volume.with_array((volume.array > threshold)",
        "volume.with_array((volume.array <= threshold)",
        f"{SYNTHESISE}::test_uptake_becomes_a_segmentation",
    ),
    "LPS not flipped": Fault(
        f"{PANEL}/scene/bridge.py",
        "LPS_TO_RAS @ slicer.util",
        "slicer.util",
        f"{BRIDGE}::test_200_random_grids_come_out_exactly",
    ),
    "parent transform ignored": Fault(
        f"{PANEL}/scene/bridge.py",
        "@ slicer.util.arrayFromVTKMatrix(to_world) @",
        "@",
        f"{BRIDGE}::test_the_marker_lies_in_the_world_where_mrml_shows_it",
    ),
    "progress never updated": Fault(
        f"{PANEL}/widgets/run_section.py",
        "self.progress_bar.value = round(100 * event.fraction)",
        "pass",
        f"{SYNTHESISE}::test_progress_log_and_failure_are_shown",
    ),
    "cancel not wired": Fault(
        f"{PANEL}/widgets/run_section.py",
        'connect(self.cancel_button, "clicked(bool)", self.cancel)',
        "pass",
        f"{SYNTHESISE}::test_cancel_leaves_nothing_and_another_run_is_possible",
    ),
    "result in the wrong node": Fault(
        f"{PANEL}/scene/run_results.py",
        "bridge.fill_node(node, output, *bridge.place_of(output.grid, reference))",
        "bridge.fill_node(reference, output, *bridge.place_of(output.grid, reference))",
        f"{SYNTHESISE}::test_a_dose_is_what_the_library_makes_of_it",
    ),
    "threshold ignored": Fault(
        f"{PANEL}/scene/uptake_results.py",
        "Elsewhere(uptake, pre, post, scans.brain, threshold=settings.threshold,",
        "Elsewhere(uptake, pre, post, scans.brain, threshold=0.1,",
        f"{UPTAKE}::test_moving_the_threshold_changes_both_in_place",
    ),
    "parameters not saved": Fault(
        f"{PANEL}/tabs/synthesise.py",
        '"parameters": by_hand,',
        '"parameters": {},',
        f"{SYNTHESISE}::test_the_state_is_saved_and_restored_with_the_scene",
    ),
    "stale number not marked": Fault(
        f"{PANEL}/tabs/uptake.py",
        '"""Say so at once when a number is out of date."""\n        self._check()',
        '"""Say nothing."""',
        f"{UPTAKE}::test_a_number_is_out_of_date_once_half_the_mask_is_erased",
    ),
    "case known by names": Fault(
        f"{PANEL}/scene/relations.py",
        "return inputs[method.reference]",
        "return slicer.mrmlScene.GetFirstNodeByName(inputs[method.reference].GetName())",
        "Testing/panel/test_case.py::test_three_patients_of_equal_names",
    ),
    "computed of nodes of equal names": Fault(
        f"{PANEL}/scene/relations.py",
        "and sources_of(node) == dict(sources)",
        "and {n.GetName() for n in sources_of(node).values()}"
        " == {n.GetName() for n in sources.values()}",
        f"{UPTAKE}::test_patients_of_equal_names_have_results_of_their_own",
    ),
    "neighbour of a deleted node taken": Fault(
        f"{PANEL}/widgets/node_selector.py",
        'connect(made, "currentNodeChanged(vtkMRMLNode*)", lambda _node: self._timer.start())',
        'connect(made, "currentNodeChanged(vtkMRMLNode*)", lambda _node: self._picked())',
        "Testing/panel/test_workflow_runs.py"
        "::test_the_neighbour_of_a_deleted_scan_is_not_taken_for_it",
    ),
    "wheel without focus": Fault(
        f"{PANEL}/widgets/manners.py",
        "kind == qt.QEvent.Wheel and not widget.focus",
        "False",
        f"{HABITS}::test_the_wheel_over_a_list_without_focus_changes_nothing",
    ),
    "comma not taken": Fault(
        f"{PANEL}/widgets/manners.py",
        'if event.text() not in (".", ",") or event.text() == point:',
        "if True:",
        f"{HABITS}::test_decimals_in_any_locale",
    ),
    "views of a person put back": Fault(
        f"{PANEL}/scene/view_keeper.py",
        "mine = [one for one in ended if self._is_mine(one)]",
        "mine = list(ended)",
        "Testing/panel/test_view_keeper.py::test_what_a_person_changed_since_stays",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_can_be_planted(name):
    fault = FAULTS[name]
    assert (REPOSITORY / fault.file).read_text(encoding="utf-8").count(fault.right) == 1
    file, _, test = fault.test.partition("::")
    assert f"def {test}(" in (REPOSITORY / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what the panel and its tests are made of, in which the named tests are green."""
    folder = tmp_path_factory.mktemp("planted")
    for name in COPIED:
        if (REPOSITORY / name).is_dir():
            left_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=left_out)
        else:
            shutil.copy2(REPOSITORY / name, folder / name)
    done = pytest_in(folder, *sorted({fault.test for fault in FAULTS.values()}))
    assert done.returncode == 0, done.stdout
    return folder


def pytest_in(folder, *tests):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *tests],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_turns_its_test_red(copy, name):
    pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    fault = FAULTS[name]
    file = copy / fault.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(fault.right, fault.wrong), encoding="utf-8")
    try:
        done = pytest_in(copy, fault.test)
    finally:
        file.write_text(whole, encoding="utf-8")
    assert done.returncode == FAILED, done.stdout
