"""One button that finds the brain in a scan of a whole head, as a mask for all tabs."""

import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.preprocessing.brain_mask import SCANS
from ContrastSynthPanel import dependencies
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import bridge, relations
from ContrastSynthPanel.scene.result_names import give_name
from ContrastSynthPanel.widgets.run_section import RunSection

PACKAGES = "brain_mask"  # the group of requirements
WHAT = "brain mask"  # what was computed, as relations.computed_node knows it


class BrainFinder:
    """Looks for the brain in another process. The package for it is installed after asking.

    ``scans`` returns the scans of the case, ``found`` gets the segmentation of the brain.
    """

    def __init__(self, scans, found):
        """Make the button."""
        self._scans, self._found, self._scan = scans, found, None
        self.run = RunSection(
            self._pressed,
            self._taken,
            _("Find the brain"),
            _("Makes a mask of the brain in a T1 scan of a whole head, by the package deepbet."),
        )
        self.widget = self.run.widget

    def check(self) -> None:
        """Say what is missing."""
        found = _("Choose a scan of a head first.") if self._best() is None else ""
        self.run.block(found)
        self.widget.visible = self.run.running or not found

    def _best(self):
        """Return the scan in which the brain is best found."""
        nodes = [one for one in self._scans() if one.GetClassName() == bridge.VOLUME]
        nodes = [one for one in nodes if relations.series_of(one) is None]
        ranks = {role: n for n, role in enumerate(SCANS)}
        nodes.sort(key=lambda node: ranks.get(relations.role_of(node), len(ranks)))
        return nodes[0] if nodes else None

    def _pressed(self) -> None:
        if lacking := dependencies.lacking(PACKAGES):
            try:
                dependencies.install(lacking)
            except MissingError as error:
                self.run.show_message("warning", str(error))
                return
        self._scan = self._best()
        if self._scan is None or self.run.running:
            return

        def arguments(paths: dict, results) -> list[str]:
            (scan,) = paths["volume"]
            return [
                "brain",
                f"--volume={scan}",
                f"--out={results / 'mask.nrrd'}",
                "--progress=json",
            ]

        self.run.start({"volume": self._scan}, self._scan, arguments)

    def _taken(self, event, results, reference):
        """Take the mask into the scene, as a task."""
        mask = yield Elsewhere(read_volume, results / "mask.nrrd")
        if reference is None or not slicer.mrmlScene.IsNodePresent(reference):
            return "warning", _("The mask was dropped: its scan is gone.")
        node = relations.computed_node(bridge.SEGMENTATION, WHAT, {"scan": reference})
        give_name(node, _("Brain: {name}").format(name=reference.GetName()))
        bridge.fill_segmentation(node, mask, reference)
        yield
        self._found(node)
        return "info", "\n".join(event.report.get("warnings", ()))

    def close(self) -> None:
        """End what runs: the panel is being taken down."""
        self.run.close()
