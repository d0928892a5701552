"""The one writer of tables: means over patients, intervals, paired differences, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import wilcoxon

from evaluation.intervals import BOOTSTRAP_SEED, RESAMPLES, by_patient, interval

NOTE = f"""\
Mean over patients [95 % bootstrap interval over patients, percentile method, {RESAMPLES}
resamples, seed {BOOTSTRAP_SEED}]. A star marks a difference whose interval excludes 0. The
paper's own values were measured on other data and cannot be compared with these."""


def markdown(
    lines: Sequence[Mapping[str, str]],
    labels: Sequence[str],
    headings: Mapping[str, str],
    digits: int = 3,
    *,
    tested: bool = False,
) -> str:
    """Return a table of the rows ``labels``, and below it each one's difference from the first.

    ``lines`` are what was measured, see ``cache.py``. ``headings`` are the measures of the columns
    by name, with their headings; ``digits`` the decimals. ``tested`` adds the p-values of the
    differences.
    """
    patients = len({line["patient"] for line in lines})
    header = " | ".join(headings.values())
    rule = "|---" * (len(headings) + 1) + "|"
    text = [f"| {patients} patients | {header} |", rule]
    for label in labels:
        columns = [list(by_patient(lines, label, name).values()) for name in headings]
        cells = [_cell(values, patients, digits, starred=False) for values in columns]
        text.append(f"| {label} | {' | '.join(cells)} |")
    if len(labels) > 1:
        text += ["", f"| difference from {labels[0]} | {header} |", rule]
    for label in labels[1:]:
        cells = []
        for name in headings:
            first, other = (by_patient(lines, which, name) for which in (labels[0], label))
            paired = [other[patient] - first[patient] for patient in first if patient in other]
            cells.append(_cell(paired, patients, digits, starred=True))
        text.append(f"| {label} | {' | '.join(cells)} |")
    if tested and len(labels) > 1:
        text += ["", f"| p of that, Wilcoxon | {header} |", rule]
        for label in labels[1:]:
            cells = [p_value(lines, labels[0], label, name) for name in headings]
            text.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(text)


def p_value(lines: Sequence[Mapping[str, str]], label: str, other: str, measure: str) -> str:
    """Return p of the two-sided Wilcoxon signed-rank test of two rows, paired by patient.

    A dash stands where no patient has both, or none differs.
    """
    first, second = (by_patient(lines, which, measure) for which in (label, other))
    paired = [second[patient] - first[patient] for patient in first if patient in second]
    if not any(paired):
        return "–"
    return f"{wilcoxon(paired).pvalue:.3g}"


def _cell(values: Sequence[float], patients: int, digits: int, *, starred: bool) -> str:
    """Return mean and interval; the number of patients where not all of them have the measure."""
    if not values:
        return "–"
    low, high = interval(np.array(values))
    sign = "+" if starred else ""
    form = f"{sign}.{digits}f"
    cell = f"{np.mean(values):{form}}"
    if not math.isnan(low):
        cell += f" [{low:{form}}, {high:{form}}]"
    if starred and (low > 0 or high < 0):
        cell += " *"
    return cell if len(values) == patients else f"{cell} (n={len(values)})"


def by_case(
    lines: Sequence[Mapping[str, str]],
    labels: Sequence[str],
    headings: Mapping[str, str],
    digits: int = 3,
) -> str:
    """Return a table with a line for each case and each of the rows ``labels``."""
    text = [f"| case | row | {' | '.join(headings.values())} |"]
    text.append("|---" * (len(headings) + 2) + "|")
    for case in dict.fromkeys(line["case"] for line in lines):
        for label in labels:
            for line in lines:
                if (line["case"], line["label"]) == (case, label):
                    values = (line[name] for name in headings)
                    cells = [f"{float(v):.{digits}f}" if v else "–" for v in values]
                    text.append(f"| {case} | {label} | {' | '.join(cells)} |")
    return "\n".join(text)
