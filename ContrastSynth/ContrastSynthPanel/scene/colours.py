"""Colour tables of the panel's own: signed differences, and the kinds of enhancement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from ContrastSynthLib.analysis import enhancement
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.scene.bridge import Colour, Node

# From zero, which is black as the background is, outwards: no hue but the sign's.
LOWER = ((0.0, 0.0, 0.0), (0.0, 0.35, 1.0), (0.75, 0.95, 1.0))
HIGHER = ((0.0, 0.0, 0.0), (1.0, 0.30, 0.0), (1.0, 0.95, 0.70))
# From persistent enhancement over a plateau to a washout, as the types of curves are coloured, and
# from little enhancement to much: the colour-blind can distinguish these, too.
WASHOUT = (
    (0.19, 0.21, 0.58),
    (0.45, 0.68, 0.82),
    (1.0, 1.0, 0.75),
    (0.96, 0.43, 0.26),
    (0.65, 0.0, 0.15),
)
RISING = ((0.0, 0.13, 0.30), (0.34, 0.36, 0.42), (0.65, 0.62, 0.46), (1.0, 0.92, 0.27))
SIGNED = (*reversed(LOWER), *HIGHER[1:])
SHADES = 128  # of each sign: one zero is between two entries, so both are the neutral one

# Chosen so that the colour-blind can distinguish them, too.
KINDS = {
    enhancement.FOUND: (_("found"), (0.00, 0.62, 0.45)),
    enhancement.MISSED: (_("missed"), (0.90, 0.16, 0.16)),
    enhancement.INVENTED: (_("invented"), (0.25, 0.65, 1.00)),
    enhancement.LOST_PART: (_("missing part of a found lesion"), (0.95, 0.75, 0.10)),
    enhancement.ADDED_PART: (_("extra part of a found lesion"), (0.80, 0.55, 0.80)),
}


def shades(of: Sequence[Colour]) -> np.ndarray:
    """Return the colours from zero to the end of a sign's scale, one a row."""
    place = np.linspace(0.0, len(of) - 1.0, SHADES)
    return np.stack([np.interp(place, range(len(of)), one) for one in np.transpose(of)], axis=1)


def signed_colours(scene: Any) -> Node:
    """Return the table for signed values: blue below zero, red above, dark at zero."""
    table = np.vstack([shades(LOWER)[::-1], shades(HIGHER)])
    entries = [(str(number), colour) for number, colour in enumerate(table)]
    return bridge.colour_table(scene, _("Signed difference"), entries)


def kind_colours(scene: Any) -> Node:
    """Return the table for the map of missed and invented enhancement."""
    entries = [(_("none"), None), *KINDS.values()]
    return bridge.colour_table(scene, _("Missed and invented enhancement"), entries)


def style(colour: Colour) -> str:
    """Return a colour of red, green and blue, 0 to 1, as style sheets name it."""
    red, green, blue = (round(255 * part) for part in colour)
    return f"rgb({red}, {green}, {blue})"


def scale_style(ends: Sequence[Colour] = SIGNED) -> str:
    """Return a style sheet that paints colours, those of signed values, from left to right."""
    last = len(ends) - 1
    stops = ", ".join(f"stop:{n / last:g} {style(colour)}" for n, colour in enumerate(ends))
    return f"background: qlineargradient(x1:0, y1:0, x2:1, y2:0, {stops});"
