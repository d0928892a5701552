"""Curves drawn in the panel itself, for what is watched while it grows."""

import math
from itertools import pairwise

import qt

HEIGHT, NARROWEST = 220, 240
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 10, 38
SHARPNESS = 2  # pixels of the picture for one of a plain screen
# A white ground whatever the theme: on it the colour-blind can distinguish these, too (Okabe and
# Ito 2008).
GROUND, INK, GRID = "#ffffff", "#333a40", "#dfe3e6"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
MOST_DECADES = 6
MOST_NUMBERS = 8  # along the axis below
LETTER = 7  # about as wide as one, in pixels of a plain screen


def draw_curves(width: int, lines: dict, x_title: str, mark: float | None = None):
    """Return a picture of lines, name to (x, y) points, over a logarithmic axis.

    What has no place on it, at or below 0 or far below the highest, is left out. ``mark`` is an
    x that is marked.
    """
    width = max(width, NARROWEST)
    picture = qt.QPixmap(width * SHARPNESS, HEIGHT * SHARPNESS)
    picture.setDevicePixelRatio(float(SHARPNESS))
    picture.fill(qt.QColor(GROUND))
    painter = qt.QPainter()
    painter.begin(picture)
    painter.setRenderHint(qt.QPainter.Antialiasing, True)
    place = Place(width, [point for points in lines.values() for point in points])
    _draw_axes(painter, place, x_title)
    if mark is not None:
        painter.setPen(_pen(INK, 1.5, qt.Qt.DashLine))
        painter.drawLine(place.column(mark), TOP, place.column(mark), HEIGHT - BOTTOM)
    for points, colour in zip(lines.values(), COLOURS, strict=False):
        painter.setPen(_pen(colour, 2.0))
        shown = [(place.column(x), place.row(y)) for x, y in points if y >= place.lowest]
        for (x0, y0), (x1, y1) in pairwise([*shown[:1], *shown]):  # one alone is a dot
            painter.drawLine(x0, y0, x1, y1)
    painter.end()
    return picture


def legend(names) -> str:
    """Return the names of lines as rich text, each after a piece of its line."""
    piece = '<span style="color:{colour}"><b>\N{EM DASH}</b></span>&nbsp;{name}'
    named = zip(names, COLOURS, strict=False)
    return " &nbsp; ".join(piece.format(colour=colour, name=name) for name, colour in named)


class Place:
    """Where in a picture the points of curves lie."""

    def __init__(self, width: int, points: list):
        """Make room for points (x, y), whose x are whole numbers that grow."""
        xs = [x for x, _y in points] or [0]
        logs = [math.log10(y) for _x, y in points if y > 0] or [0.0]
        self.right = width - RIGHT
        self.first, self.last = int(min(xs)), max(int(max(xs)), int(min(xs)) + 1)
        self.high = max(math.ceil(max(logs)), math.floor(min(logs)) + 1)
        self.low = max(math.floor(min(logs)), self.high - MOST_DECADES)

    @property
    def lowest(self) -> float:
        """The least y that has a place."""
        return 10.0**self.low

    def column(self, x: float) -> int:
        """Return how far from the left an x lies."""
        share = (x - self.first) / (self.last - self.first)
        return round(LEFT + share * (self.right - LEFT))

    def row(self, y: float) -> int:
        """Return how far from the top a y lies."""
        share = (math.log10(y) - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP))


def _draw_axes(painter, place: Place, x_title: str) -> None:
    for exponent in range(place.low, place.high + 1):
        row = place.row(10.0**exponent)
        painter.setPen(_pen(GRID, 1.0))
        painter.drawLine(LEFT, row, place.right, row)
        painter.setPen(_pen(INK, 1.0))
        painter.drawText(4, row + 4, f"1e{exponent}")
    below = HEIGHT - BOTTOM
    painter.drawLine(LEFT, below, place.right, below)
    step = round_up((place.last - place.first) / MOST_NUMBERS)
    for number in range(place.first + (-place.first) % step, place.last + 1, step):
        column = place.column(number)
        painter.drawLine(column, below, column, below + 4)
        painter.drawText(column - LETTER * len(str(number)) // 2, below + 17, str(number))
    middle = (LEFT + place.right - LETTER * len(x_title)) // 2
    painter.drawText(middle, HEIGHT - 5, x_title)


def _pen(colour: str, width: float, style=None):
    pen = qt.QPen(qt.QColor(colour))
    pen.setWidthF(width)
    if style is not None:
        pen.setStyle(style)
    return pen


def round_up(value: float) -> int:
    """Return the least of 1, 2, 5, 10, 20, ... that is at least ``value``."""
    number = 1
    while number < value:
        number = number * 5 // 2 if str(number)[0] == "2" else number * 2
    return number
