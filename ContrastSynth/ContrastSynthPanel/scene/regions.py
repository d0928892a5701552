"""The regions of a segmentation or label map, as masks on the grid of a scan, read as a task."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.scene.bridge import SEGMENTATION
from ContrastSynthPanel.scene.stamps import visible_segments

Node = Any  # of MRML
MOST_LABELS = 60  # with more, a label map is no drawing of regions
Colour = tuple[float, float, float]
PLAIN: Colour = (0.20, 0.22, 0.25)


class Region(NamedTuple):
    """A mask with the name and the colour, red, green and blue from 0 to 1, that it has."""

    name: str
    colour: Colour
    mask: Volume


def reading_regions(
    node: Node, scan: Node, segment: str = "", each: bool = False
) -> Generator[Any, Any, list[Region]]:
    """Return the regions of a node: all as one, or ``each`` segment or label by itself.

    Of a segmentation ``segment`` counts, without one all that are visible. Raises RequestError
    where there is none.
    """
    yield _("Reading the region")
    if node.IsA(SEGMENTATION):
        found = yield from _segments(node, scan, segment, each)
    else:
        found = yield from _labels(node, each)
    return named_apart(found)


def named_apart(regions: list[Region]) -> list[Region]:
    """Return regions without two of the same name."""
    seen: dict[str, int] = {}
    made = []
    for one in regions:
        seen[one.name] = seen.get(one.name, 0) + 1
        number = seen[one.name]
        made.append(one if number == 1 else one._replace(name=f"{one.name} ({number})"))
    return made


def _segments(
    node: Node, scan: Node, segment: str, each: bool
) -> Generator[Any, Any, list[Region]]:
    ids = [segment] if segment else visible_segments(node)
    if not ids:
        text = _("'{name}' has no segment. Draw one in the Segment Editor.")
        if node.GetSegmentation().GetNumberOfSegments():
            text = _("'{name}' has no segment that is visible. Show one in the Segment Editor.")
        raise RequestError(text.format(name=node.GetName()))
    made = []
    for group in [[one] for one in ids] if each else [ids]:
        voxels, grid = bridge.voxels_of_segments(node, scan, group)
        mask = yield Elsewhere(lambda voxels=voxels, grid=grid: Volume(voxels > 0, grid))
        first = node.GetSegmentation().GetSegment(group[0])
        name = first.GetName() if len(group) == 1 else node.GetName()
        made.append(Region(name, tuple(first.GetColor()), mask))
    return made


def _labels(node: Node, each: bool) -> Generator[Any, Any, list[Region]]:
    grid = bridge.world_grid(node, mask=True)
    array = yield Elsewhere(np.array, slicer.util.arrayFromVolume(node))
    numbers = yield Elsewhere(lambda: [int(one) for one in np.unique(array) if one > 0])
    if not each or len(numbers) < 2:
        mask = yield Elsewhere(lambda: Volume(array > 0, grid))
        return [Region(node.GetName(), PLAIN, mask)]
    if len(numbers) > MOST_LABELS:
        text = _("'{name}' has {count} labels: at most {most} can be measured each by itself.")
        count = len(numbers)
        raise RequestError(text.format(name=node.GetName(), count=count, most=MOST_LABELS))
    made = []
    for number in numbers:
        mask = yield Elsewhere(lambda number=number: Volume(array == number, grid))
        made.append(Region(*_title_of(node, number), mask))
    return made


def _title_of(node: Node, number: int) -> tuple[str, Colour]:
    """Return what a label is called, and its colour, by the colour table that shows it."""
    display = node.GetDisplayNode()
    colours, rgba = display.GetColorNode() if display is not None else None, [0.0] * 4
    if colours is None or not colours.GetColor(number, rgba):
        return _("label {number}").format(number=number), PLAIN
    title = _("label {number}: {name}").format(number=number, name=colours.GetColorName(number))
    red, green, blue = rgba[:3]
    return title, (red, green, blue)
