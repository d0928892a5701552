"""The page of a cohort: one file, smaller than PAGE_BYTES however many cases there are."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from string import Template

import numpy as np

from ContrastSynthLib import __version__
from ContrastSynthLib.cohort.budget import PAGE_BYTES
from ContrastSynthLib.cohort.failures import Failures, grouped
from ContrastSynthLib.cohort.gathering import Cohort
from ContrastSynthLib.cohort.outliers import FROM_Z
from ContrastSynthLib.cohort.plots import histograms, is_outlier, values_of
from ContrastSynthLib.cohort.row import DAMAGED, DONE, FAILED, Row
from ContrastSynthLib.plots.html import html_picture
from ContrastSynthLib.resources import resource
from ContrastSynthLib.running.batch.forecast import time_in_words

TEMPLATE = "CohortReport.html"
MOST_REASONS = 25
MOST_NAMES = 200
"""Names of failed cases on the page, of all reasons together; the table has all of them."""
LONGEST_REASON = 400
LONGEST_NAME = 60
ROOM_FOR_HEADINGS = 2000
"""Bytes, of the words above the pictures."""
MB_PER_GB = 1000.0


def page(cohort: Cohort) -> str:
    """Return the page: numbers, histograms, failed cases, pictures with the outliers first.

    Where not all pictures fit, the last ones are left out, and the page says how many. Raises
    MissingError without matplotlib.
    """
    ordered = in_order(cohort.rows)
    methods = sorted({row.method for row in cohort.rows})
    template = Template(resource(TEMPLATE).read_text(encoding="utf-8"))
    figure = histograms(cohort.rows)
    parts = {
        "method": escape(", ".join(methods)),
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "version": escape(__version__),
        "numbers": "".join(_number(*each) for each in head_numbers(cohort)),
        "histograms": "" if figure is None else html_picture(figure, alt="Histograms of all cases"),
        "failures": _failures(grouped(cohort.rows)),
    }
    room = PAGE_BYTES - len(template.safe_substitute(parts).encode()) - ROOM_FOR_HEADINGS
    figures = _that_fit([_case(row, cohort.pictures.get(row.case, b"")) for row in ordered], room)
    return template.substitute(parts, cases=_cases(ordered, figures))


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return the cases that are done: outliers, the most unusual first, then the others."""
    done = [row for row in rows if row.status == DONE]
    outliers = sorted((row for row in done if is_outlier(row)), key=lambda row: -(row.outlier or 0))
    return [*outliers, *(row for row in done if not is_outlier(row))]


def head_numbers(cohort: Cohort) -> list[tuple[str, str]]:
    """Return what stands at the top of the page: titles and values."""
    rows = cohort.rows
    told = [("cases", str(len(rows)))]
    told += [(name, str(sum(row.status == name for row in rows))) for name in (DONE, FAILED)]
    if damaged := sum(row.status == DAMAGED for row in rows):
        told.append((DAMAGED, str(damaged)))
    if cohort.not_run:
        told.append(("not run yet", str(cohort.not_run)))
    told.append(("outliers", str(sum(is_outlier(row) for row in rows))))
    if uptake := values_of(rows, "uptake_ml"):
        low, middle, high = np.percentile(uptake, (25, 50, 75))
        told.append(("uptake, median (quartiles)", f"{middle:.1f} ({low:.1f} to {high:.1f}) ml"))
    if seconds := values_of(rows, "seconds"):
        told.append(("time of a run, median", _time(float(np.median(seconds)))))
        told.append(("of all runs", _time(sum(seconds))))
    if memory := values_of(rows, "memory_mb"):
        told.append(("largest memory", f"{max(memory) / MB_PER_GB:.2f} GB"))
    return told


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else time_in_words(seconds)


def _number(title: str, value: str) -> str:
    return f"<div><dt>{escape(title)}</dt><dd>{escape(value)}</dd></div>"


def _failures(groups: Sequence[Failures]) -> str:
    if not groups:
        return "<p class='soft'>Every case has a result.</p>"
    parts, names_left = [], MOST_NAMES
    for group in groups[:MOST_REASONS]:
        shown = group.cases[:names_left]
        names_left -= len(shown)
        names = ", ".join(escape(_short(case, LONGEST_NAME)) for case in shown)
        if more := len(group.cases) - len(shown):
            names += f"{', ' if shown else ''}{more} more, in the table"
        reason = escape(_short(group.reason, LONGEST_REASON))
        parts.append(
            f"<div class='reason'><p><strong>{len(group.cases)} {group.status}.</strong> {reason}"
            f"</p><p class='soft'>{names}</p></div>"
        )
    if more := sum(len(group.cases) for group in groups[MOST_REASONS:]):
        parts.append(f"<p class='soft'>{more} more for other reasons, in the table.</p>")
    return "\n".join(parts)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _case(row: Row, picture: bytes) -> str:
    """Return the picture of a case with its words."""
    if picture:
        data = base64.b64encode(picture).decode("ascii")
        alt = f"Synthetic result of {_short(row.case, LONGEST_NAME)}"
        shown = f"<img loading=lazy alt='{escape(alt)}' src='data:image/jpeg;base64,{data}'>"
    else:
        shown = "<p class='soft'>No image among the outputs.</p>"
    name = escape(_short(row.case, LONGEST_NAME))
    css, why = "", ""
    if is_outlier(row):
        css = " class='outlier'"
        why = f"<em>{escape(row.outlier_because)}</em>"
    return (
        f"<figure{css}>{shown}<figcaption><b>{name}</b>{_measures(row)}{why}</figcaption></figure>"
    )


def _measures(row: Row) -> str:
    told = []
    if row.uptake_ml is not None:
        told.append(f"{row.uptake_ml:.1f} ml")
    if row.change_percent is not None:
        told.append(f"{row.change_percent:.1f} % change")
    if row.warnings:
        told.append(f"{row.warnings} warning{'s' if row.warnings > 1 else ''}")
    return f"<span>{escape(', '.join(told))}</span>" if told else ""


def _that_fit(figures: Sequence[str], room: int) -> list[str]:
    """Return the first figures, as many as fit into so many bytes."""
    shown = []
    for figure in figures:
        room -= len(figure.encode()) + 1
        if room < 0:
            break
        shown.append(figure)
    return shown


def _cases(ordered: Sequence[Row], figures: Sequence[str]) -> str:
    """Return the pictures below their headings: ``figures`` are those of the first cases."""
    count = sum(is_outlier(row) for row in ordered)
    first, others = figures[:count], figures[count:]
    parts = ["<h2>Outliers</h2>"]
    if first:
        parts += [
            f"<p class='soft'>{count} of {len(ordered)} cases lie {FROM_Z:g} or more robust "
            "deviations from the median of a measure, the farthest first. An outlier is not a "
            "failure: it is what to look at first.</p>",
            _grid(first),
        ]
    else:
        parts.append("<p class='soft'>No case is far from the others.</p>")
    parts.append("<h2>All others</h2>")
    if left_out := len(ordered) - len(figures):
        parts.append(
            f"<p class='notice'>{left_out} of {len(ordered)} cases are not shown here, so that the "
            "page stays small. The table has all of them.</p>"
        )
    parts.append(_grid(others) if others else "<p class='soft'>There are none.</p>")
    return "\n".join(parts)


def _grid(figures: Sequence[str]) -> str:
    return "<div class='grid'>" + "\n".join(figures) + "</div>"
