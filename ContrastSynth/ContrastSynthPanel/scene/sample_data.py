"""Virtual patients for Slicer's Sample Data module: made on this machine, nothing is downloaded.

Each is a patient of its own in the subject hierarchy, with scans whose roles are known and a
segmentation of the lesions. A virtual scan is computed and says so, but it is the truth that
results are compared with. Registering them imports nothing of the library: Slicer does it each
time it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

Node = Any  # of MRML
CATEGORY = "ContrastSynth"
BRAIN_NAMES = {
    "pre": "Virtual T1 pre",
    "post": "Virtual T1 post",
    "low": "Virtual T1 low dose",
    "corrupted": "Virtual T1, patient moved",
}
BREAST_NAME = "Virtual breast phases"
LESIONS = "Virtual lesions"
BRAIN_PATIENT, BREAST_PATIENT = "Virtual brain", "Virtual breast"
LESION_COLOURS = ((0.95, 0.75, 0.10), (0.35, 0.70, 0.90), (0.80, 0.47, 0.65), (0.00, 0.62, 0.45))
BRAINS = {
    "pre": (_("Virtual brain: post, and a pre with motion"), ("pre", "post", "corrupted")),
    "dose": (_("Virtual brain: pre and post"), ("pre", "post")),
    "full": (_("Virtual brain: low dose"), ("pre", "low", "post")),
    "enhance": (_("Virtual brain: pre without an agent"), ("pre", "post")),
}
"""By task: the sample's title, and its scans; what a method is to find is there to compare."""
BREAST_TASK, BREAST_TITLE = "delayed", _("Virtual breast: dynamic series")


def register(icon: str) -> None:
    """Offer one sample for each task, with ``icon`` on its button."""
    import SampleData

    samples: dict[str, Callable[[], Any]] = {
        title: partial(load_brain, roles) for title, roles in BRAINS.values()
    }
    for title, load in (samples | {BREAST_TITLE: load_breast}).items():
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=title,
            uris=[],
            fileNames=[],
            nodeNames=[],
            customDownloader=lambda _source, load=load: load(),
            thumbnailFileName=icon,
        )


def load_brain(roles: Sequence[str] = tuple(BRAIN_NAMES), **options: Any) -> dict[str, Node]:
    """Add scans of a virtual brain to the scene, and its lesions; return scans by role.

    Each time it is another patient.
    """
    from ContrastSynthLib.phantom.marks import BRAIN
    from ContrastSynthLib.phantom.sample import TUMOUR, sample_patient

    with slicer.util.WaitCursor():
        number, folder = new_patient(BRAIN_PATIENT)
        patient = sample_patient(**({"seed": number - 1} | options))
        nodes = {role: _add_scan(patient.scans[role], role, BRAIN, folder) for role in roles}
        first = nodes[roles[0]]
        lesions = patient.scans[roles[0]].with_array(patient.tissue == TUMOUR)
        _add_lesions(lesions, first, folder)
    slicer.util.setSliceViewerLayers(first, foreground=None, label=None, fit=True)
    return nodes


def _add_scan(volume: Any, role: str, mark: str, folder: int) -> Node:
    from ContrastSynthPanel.scene import bridge, relations

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", BRAIN_NAMES[role])
    bridge.fill_node(node, volume.with_array(volume.array, mark), volume.grid.index_to_ras, None)
    node.SetAttribute(relations.ROLE, role)
    node.CreateDefaultDisplayNodes()
    put_into(folder, node)
    return node


def _add_lesions(lesions: Any, reference: Node, folder: int) -> Node:
    """Add a segmentation of lesions, a segment for each label; they are regions, not results."""
    import numpy as np

    from ContrastSynthPanel.scene import bridge

    node = slicer.mrmlScene.AddNewNodeByClass(bridge.SEGMENTATION, LESIONS)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility2DFill(False)  # what is below is looked at
    numbers = [n for n in np.unique(lesions.array).tolist() if n]
    for n, colour in zip(numbers, LESION_COLOURS * len(numbers), strict=False):
        title = _("Lesion {number}").format(number=int(n))
        mask = lesions.with_array((lesions.array == n).astype(np.float32))
        bridge.add_segment(node, mask, reference, title, colour)
    put_into(folder, node)
    return node


def load_breast(**options: Any) -> Node:
    """Add a virtual breast's dynamic series and its lesions to the scene; return the sequence."""
    from ContrastSynthLib.phantom.breast.patient import breast_patient
    from ContrastSynthPanel.scene import bridge

    with slicer.util.WaitCursor():
        number, folder = new_patient(BREAST_PATIENT)
        patient = breast_patient(number - 1, **options)
        node = slicer.mrmlScene.AddNewNodeByClass(bridge.SEQUENCE, BREAST_NAME)
        bridge.run_through(bridge.filling_sequence(node, patient.phases))
        shown = bridge.shown_volume(node)
        shown.CreateDefaultDisplayNodes()
        put_into(folder, node)
        put_into(folder, shown)
        _add_lesions(patient.phases[0].with_array(patient.lesion_labels), shown, folder)
    slicer.util.setSliceViewerLayers(shown, foreground=None, label=None, fit=True)
    return node


def new_patient(name: str) -> tuple[int, int]:
    """Return the number of a new virtual patient, from 1, and its item in the hierarchy."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    number, title = 1, name
    while tree.GetItemByName(title):
        number += 1
        title = f"{name} {number}"
    return number, tree.CreateSubjectItem(tree.GetSceneItemID(), title)


def put_into(folder: int, node: Node) -> None:
    """List a node under a patient."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if item := tree.GetItemByDataNode(node):
        tree.SetItemParent(item, folder)
    else:
        tree.CreateItem(folder, node)
