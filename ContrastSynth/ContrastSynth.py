"""The module that 3D Slicer loads: what it is for, its panel, sample data and self test.

Synthesis itself is in ContrastSynthLib, which knows nothing of Slicer.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

# A packaged extension has the library beside this file. In a source checkout it is one
# folder up, which Slicer does not search.
if importlib.util.find_spec("ContrastSynthLib") is None:
    sys.path.append(str(Path(__file__).resolve().parent.parent))

README = "https://github.com/ContrastSynth/SlicerContrastSynth#readme"
HELP = _(
    "<p>Synthesizes missing, corrupted, underdosed or delayed contrast-enhanced MR images.</p>"
    "<p><b>Research use only. Not a medical device: a synthetic image must not be used for "
    "diagnosis or treatment.</b></p><ul>"
    "<li><b>Synthesise</b>: choose a method and its scans, and run it in another process.</li>"
    "<li><b>Uptake</b>: where the agent went, as mask and table; what a synthetic image missed or "
    "invented.</li>"
    "<li><b>Compare</b>: input, result and reference side by side, blended or as difference.</li>"
    "<li><b>Kinetics</b>: real and synthetic curves of a region in a dynamic series.</li>"
    "<li><b>Profile</b>: intensities along a line, with their mean absolute error.</li>"
    "<li><b>Quality</b>: measures of a synthetic image against the real one, as a table.</li>"
    "<li><b>Inversion</b>: how the solver of an inverse problem comes to its result.</li>"
    "<li><b>Study</b>: blinded scores of the images of a reader study.</li></ul>"
    "<p>Virtual patients to try it on are in the module Sample Data. "
    '<a href="{readme}">Manual</a></p>'
)
SELF_TEST_S = 300


class ContrastSynth(ScriptedLoadableModule):
    """Tells Slicer about the module."""

    def __init__(self, parent):
        """Fill in what Slicer's module list and help panel show."""
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("ContrastSynth")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        self.parent.dependencies = [
            *("Volumes", "Segmentations", "Sequences", "SubjectHierarchy"),
            *("Tables", "Plots", "Markups"),
        ]
        self.parent.contributors = ["The ContrastSynth authors"]
        self.parent.helpText = HELP.format(readme=README)
        self.parent.acknowledgementText = acknowledgement()
        slicer.app.connect("startupCompleted()", register_sample_data)


class ContrastSynthWidget(ScriptedLoadableModuleWidget):
    """What Slicer shows: the panel, made when the module is first opened."""

    def setup(self):
        """Build the panel, as it was before where the scene keeps that: a reload enters nothing."""
        from ContrastSynthPanel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ContrastSynthLogic()
        self.panel = Panel(self.layout, self.logic.getParameterNode)

    def enter(self):
        """Show what the scene keeps of the panel, each time it comes into view."""
        self.panel.enter()

    def exit(self):
        """Leave the slice views as other modules want them."""
        self.panel.leave()

    def cleanup(self):
        """End a run that is under way; Slicer closes or reloads the module."""
        self.panel.cleanup()

    def onReload(self):
        """Read the panel and the library again too; Slicer by itself reads this file only."""
        for name in list(sys.modules):
            if name.partition(".")[0] in ("ContrastSynthPanel", "ContrastSynthLib"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class ContrastSynthLogic(ScriptedLoadableModuleLogic):
    """The parameter node that keeps the panel's state."""


class ContrastSynthTest(ScriptedLoadableModuleTest):
    """The self test that a person runs in Slicer (Reload and Test). It empties the scene."""

    def runTest(self):
        """Run a method from the panel, as a person does, and look at the result."""
        slicer.mrmlScene.Clear()
        self.test_dose_from_the_panel()
        self.delayDisplay(_("Test passed"))

    def test_dose_from_the_panel(self):
        """A third of the dose lies on its input's grid, between no dose and the full one."""
        from ContrastSynthPanel.scene import bridge, sample_data

        self.delayDisplay(_("Making a virtual patient"))
        nodes = sample_data.load_brain(("pre", "post"))
        slicer.util.selectModule("ContrastSynth")
        panel = slicer.modules.ContrastSynthWidget.panel
        tab, methods = panel.synthesise, panel.synthesise.form.method_combo
        methods.setCurrentIndex(methods.findData("physics_dose"))
        wait_until(lambda: tab.run.apply_button.enabled)
        self.delayDisplay(_("Running {method}").format(method="physics_dose"))
        tab.run.apply_button.click()
        wait_until(lambda: not tab.run.running)
        result = panel.box.case.node("result")
        pre, post, low = (bridge.volume_from_node(n) for n in (*nodes.values(), result))
        self.assertTrue(low.grid.is_same(pre.grid))
        self.assertIn("physics_dose", low.synthetic)
        enhanced = post.array > 1.5 * pre.array
        self.assertGreater(low.array[enhanced].mean(), pre.array[enhanced].mean())
        self.assertLess(low.array[enhanced].mean(), post.array[enhanced].mean())


def acknowledgement():
    """Return the papers that the methods and measures follow."""
    from ContrastSynthLib.resources import resource

    text = resource("Citations.json").read_text(encoding="utf-8")
    message = "<li>{authors}: {title}. {venue}, {year}.</li>"
    papers = [
        message.format(**paper | {"authors": ", ".join(paper["authors"])})
        for paper in json.loads(text)["citations"].values()
    ]
    introduction = _("Methods and measures follow these papers. The code is our own.")
    return f"<p>{introduction}</p><ul>{''.join(papers)}</ul>"


def register_sample_data():
    """Offer virtual patients in the module Sample Data, once Slicer has started."""
    from ContrastSynthPanel.scene import sample_data

    sample_data.register(str(Path(__file__).parent / "Resources" / "Icons" / "ContrastSynth.png"))


def wait_until(condition):
    """Let Slicer work until ``condition()`` holds. TimeoutError after some minutes."""
    end = time.monotonic() + SELF_TEST_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("The panel did not come to an end.")
        slicer.app.processEvents()
        time.sleep(0.02)
