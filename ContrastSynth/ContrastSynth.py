"""The module that 3D Slicer loads: who made it, what it is for, and which methods there are.

Synthesis itself is in ContrastSynthLib, which knows nothing of Slicer.
"""

import importlib.util
import sys
from pathlib import Path

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


class ContrastSynth(ScriptedLoadableModule):
    """Tells Slicer about the module."""

    def __init__(self, parent):
        """Fill in what Slicer's module list and help panel show."""
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("ContrastSynth")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        self.parent.dependencies = []
        self.parent.contributors = ["The ContrastSynth authors"]
        self.parent.helpText = _(
            "Synthesizes missing, corrupted, underdosed or delayed contrast-enhanced MR images. "
            "Research use only: a synthetic image must not be used for diagnosis or treatment."
        )
        self.parent.acknowledgementText = _(
            "The methods follow the publications that each of them cites. The code is our own."
        )


class ContrastSynthWidget(ScriptedLoadableModuleWidget):
    """What Slicer shows: the panel, made when the module is first opened."""

    def setup(self):
        """Build the panel."""
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


class ContrastSynthLogic(ScriptedLoadableModuleLogic):
    """The parameter node that keeps the panel's state, and the list of the methods."""

    def methodsAsText(self):
        """Return the declared methods, as a person reads them."""
        import ContrastSynthLib.methods  # noqa: F401  (declares them)
        from ContrastSynthLib.registry import METHODS
        from ContrastSynthLib.registry.describe import methods_as_text

        return methods_as_text(METHODS.values())


class ContrastSynthTest(ScriptedLoadableModuleTest):
    """The self test that a person runs in Slicer (Reload and Test)."""

    def runTest(self):
        """Check that the library and what ships with it are found."""
        from ContrastSynthLib.resources import resource

        self.assertIn("physics_dose", ContrastSynthLogic().methodsAsText())
        self.assertTrue(resource("Citations.json").is_file())
        self.delayDisplay(_("Test passed"))
