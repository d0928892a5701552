"""Virtual patients for Slicer's Sample Data module: made on this machine, nothing is downloaded.

Registering them imports nothing of the library: Slicer does it each time it starts.
"""

from functools import partial

import slicer
from slicer.i18n import tr as _

CATEGORY = "ContrastSynth"
BRAIN_NAMES = {
    "pre": "Virtual T1 pre",
    "post": "Virtual T1 post",
    "low": "Virtual T1 low dose",
    "corrupted": "Virtual T1, patient moved",
}
BREAST_NAME = "Virtual breast phases"
BRAINS = {
    "pre": (_("Virtual brain: post, and a pre with motion"), ("pre", "post", "corrupted")),
    "dose": (_("Virtual brain: pre and post"), ("pre", "post")),
    "full": (_("Virtual brain: low dose"), ("pre", "low", "post")),
}
"""By task: the sample's title, and its scans; what a method is to find is there to compare."""
BREAST_TITLE = _("Virtual breast: dynamic series")


def register(icon: str) -> None:
    """Offer one sample for each task, with ``icon`` on its button."""
    import SampleData

    samples = {title: partial(load_brain, roles) for title, roles in BRAINS.values()}
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


def load_brain(roles=tuple(BRAIN_NAMES), **options) -> dict:
    """Add scans of the sample patient to the scene; return their nodes by role."""
    from ContrastSynthLib.phantom.brain.patient import SYNTHETIC
    from ContrastSynthLib.phantom.sample import sample_patient
    from ContrastSynthPanel.scene import bridge

    with slicer.util.WaitCursor():
        scans = sample_patient(**options).scans
        nodes = {}
        for role in roles:
            name = slicer.mrmlScene.GenerateUniqueName(BRAIN_NAMES[role])
            node = nodes[role] = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
            marked = scans[role].with_array(scans[role].array, SYNTHETIC)
            bridge.fill_node(node, marked, marked.grid.index_to_ras, None)
            node.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(nodes[roles[0]], foreground=None, label=None, fit=True)
    return nodes


def load_breast(**options):
    """Add a virtual breast's dynamic series to the scene; return the sequence node."""
    from ContrastSynthLib.phantom.breast.patient import breast_patient
    from ContrastSynthPanel.scene import bridge

    with slicer.util.WaitCursor():
        phases = breast_patient(0, **options).phases
        node = bridge.sequence_from_series(slicer.mrmlScene, phases, BREAST_NAME)
        logic = slicer.modules.sequences.logic()
        browser = logic.GetFirstBrowserNodeForSequenceNode(node)
        logic.UpdateProxyNodesFromSequences(browser)
    shown = browser.GetProxyNode(node)
    shown.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(shown, foreground=None, label=None, fit=True)
    return node
