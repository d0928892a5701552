"""What a person does in the tab "Uptake", and what the library finds: for its tests."""

from __future__ import annotations

import slicer
from host import pick, press, pump, type_text
from scans import settled

from ContrastSynthLib.analysis.evaluation import enhancement_of
from ContrastSynthLib.analysis.regions import list_regions
from ContrastSynthLib.analysis.uptake import REFERENCE_LEVELS, limited_to, uptake
from ContrastSynthLib.preprocessing.foreground import foreground

NAMES = {"pre": "T1 pre", "post": "T1 post Gd"}


def add_result(panel, post, result):
    """Take in what a run made of a post scan; return nodes by role."""
    from ContrastSynthPanel.scene import run_results

    made = run_results.add_result(slicer.mrmlScene, result, post, {"post": post})
    settled(panel)
    return made


def select(tab, role, node):
    """Choose a node in the case box."""
    pick(tab.box.selectors[role], node)


def done(tab, timeout_s=10.0):
    """Wait until nothing is computed any more; return the message."""
    pump(lambda: not tab.busy, timeout_s)
    return tab.notice.box.plainText


def show(tab):
    """Press "Show uptake", and wait; return the message."""
    press(tab.action.button)
    return done(tab)


def set_threshold(tab, text):
    """Type a threshold, and wait; return the message."""
    type_text(tab.form.threshold, text)
    return done(tab)


def found_in(pre, post, smallest_ml=0.03, **options):
    """Return what the library finds in two scans without small regions, and its regions."""
    brain = foreground([pre, post]).mask
    found = uptake(pre, post, brain, **options)
    limit = {"minimum_volume_mm3": 1000 * smallest_ml}
    regions = list_regions(found.difference, found.binary, pre.grid, **limit)
    return limited_to(found, regions.mask), regions


def compared(patient, made, level="mean", smallest_ml=0.03, **options):
    """Return what the library makes of a synthetic pre scan, by the uptake's own convention."""
    pre, post = (patient.scans[role] for role in ("pre", "post"))
    how = {"convention": REFERENCE_LEVELS[level], "minimum_volume_mm3": 1000 * smallest_ml}
    brain = foreground([made, post]).mask
    return enhancement_of(pre, made, pre=pre, post=post, brain=brain, **how, **options)


def array(node):
    """Return the voxels of a node."""
    return slicer.util.arrayFromVolume(node)


def inside(mask, reference):
    """Return where a segmentation is, on the grid of a scan."""
    from ContrastSynthPanel.scene import bridge

    return bridge.mask_from_segmentation(mask, reference).array > 0


def composites():
    """Return the nodes that hold the layers of the slice views."""
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def centres():
    """Return where the slice views look, RAS in mm."""
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [[view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] for view in views]
