"""One button that finds the brain in a scan of a whole head, as a mask for all tabs."""

import numpy as np
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.preprocessing.brain_mask import SCANS
from ContrastSynthLib.preprocessing.foreground import is_whole_head
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel import dependencies
from ContrastSynthPanel.background import Background, Elsewhere
from ContrastSynthPanel.scene import bridge, relations
from ContrastSynthPanel.scene.result_names import give_name
from ContrastSynthPanel.scene.stamps import stamp
from ContrastSynthPanel.widgets.run_section import RunSection
from ContrastSynthPanel.widgets.slots import once_after

PACKAGES = "brain_mask"  # the group of requirements
MANY = 64  # voxels along an axis
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
        # In the case box there is no room for a log; without an owner it would never be gone.
        self.widget.layout().addWidget(self.run.log_section)
        self.run.log_section.visible = False
        self._work = Background(once_after, lambda _text: None)
        self._judged = (), False  # the stamp of a scan, and whether it is a whole head

    def check(self) -> None:
        """Offer it for a whole head, of which nobody knows yet where the brain is."""
        scan = self._best()
        now = stamp(scan) if scan is not None else ()
        if scan is not None and now != self._judged[0] and not self._work.running:
            self._work.start(
                judging(scan),
                lambda whole: self._know(now, whole),
                lambda _e: self._know(now, False),
            )
        whole = self._judged[1] and scan is not None
        self.widget.visible = self.run.running or whole or bool(self.run.message.plainText)

    def _know(self, judged: tuple, whole: bool) -> None:
        self._judged = judged, whole
        self.check()

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
        self._work.cancel()
        self.run.close()
        self.run.log_section.deleteLater()  # it stands nowhere, so nothing else takes it down


def judging(node):
    """Return, as a task, whether a scan is a whole head. A coarse look is enough."""
    volume = yield from bridge.reading_volume(node)
    return (yield Elsewhere(is_whole_head, coarse(volume)))


def coarse(volume: Volume) -> Volume:
    """Return every second voxel of a volume along each axis that has many."""
    steps = [2 if count >= MANY else 1 for count in volume.grid.size]
    matrix = volume.grid.index_to_lps @ np.diag([*steps, 1.0])
    array = volume.array[tuple(slice(None, None, step) for step in reversed(steps))]
    size = tuple(reversed(array.shape))
    return Volume(array, Grid.from_index_to_lps(size, matrix))
