"""Parts of pages that are one file: tables, and pictures that the page includes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ContrastSynthLib.plots.figures import figure_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; what the cells say is text, not markup."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_picture(figure: Figure, css: str = "picture", alt: str = "") -> str:
    """Return a figure as a picture in the page itself."""
    data = base64.b64encode(figure_png(figure)).decode("ascii")
    return f"<img class='{css}' alt='{escape(alt)}' src='data:image/png;base64,{data}'>"
