"""How alike two losses fall over a training: SPHERE's Table 6 and figure 10 (appendix C.3, eq. 43).

    python training/loss_curves.py SPHERE=runs/sphere/curves.csv UNet++=runs/unet/curves.csv \\
        --contrast l1_contrast --structure l1_structure --smooth 20 --plot curves.png

Trainings are given as FILE or NAME=FILE; several of one name are seeds. The table of losses has a
column ``step`` and a column for each loss; a row counts when it has both losses. Three numbers
compare the loss in the region of contrast uptake with that in the rest:

- Pearson's correlation of the curves;
- the cosine of the curves as they are. Losses are positive and so are their products: two
  curves that have nothing to do with each other come near 1 as well;
- the gradient similarity index of eq. 43, of the slopes: 1 when both losses change by the same
  amounts at the same time, -1 when one rises as the other falls, and less than 1 when they
  differ in scale.

The paper does not say at which steps or after what smoothing it took them. Noise from batch to
batch draws the third one to 0, so the width of the moving average is printed with the result.
``--csv`` keeps the numbers, a line for each training.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import ContrastSynthError, RequestError, unknown_name

Curve = NDArray[np.float64]
STEP = "step"
FEWEST_POINTS = 3
HEADINGS = {
    "pearson": "Pearson ↑",
    "cosine": "cosine ↑",
    "gradient_similarity": "gradient similarity (eq. 43) ↑",
}


def read_curves(path: Path, columns: tuple[str, str]) -> tuple[Curve, Curve, Curve]:
    """Return the steps and both losses, (n,) each, of the rows that have both.

    Raises RequestError for an unreadable table, an unknown column, a value that is no finite
    number, steps that do not increase and fewer than three rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            known = list(reader.fieldnames or [])
            rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read as a table of losses ({error}).") from error
    wanted = (STEP, *columns)
    for column in wanted:
        if column not in known:
            raise unknown_name(f"column of {path.name}", column, known)
    points = []
    for number, row in enumerate(rows, start=2):
        if all(row[column] for column in wanted):
            points.append([_number(path, number, column, row[column]) for column in wanted])
            if len(points) > 1 and points[-1][0] <= points[-2][0]:
                raise RequestError(
                    f"{path.name}, line {number}: step {points[-1][0]:g} follows "
                    f"{points[-2][0]:g}. Steps must increase; remove what an interrupted training "
                    "wrote twice."
                )
    if len(points) < FEWEST_POINTS:
        raise RequestError(
            f"{path.name}: {len(points)} rows hold both {columns[0]} and {columns[1]}; at least "
            f"{FEWEST_POINTS} are needed."
        )
    step, contrast, structure = np.array(points).T
    return step, contrast, structure


def _number(path: Path, line: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise RequestError(
            f"{path.name}, line {line}: {column} is '{text}'. Expected a finite number, or "
            "nothing where the loss was not taken."
        )
    return value


def moving_average(curve: Curve, width: int) -> Curve:
    """Return means over ``width`` neighbouring points, (n - width + 1,): no end is made up.

    Raises RequestError unless at least three of them are left.
    """
    if width < 1 or len(curve) - width + 1 < FEWEST_POINTS:
        raise RequestError(
            f"A moving average over {width} of {len(curve)} points: give a width from 1 to "
            f"{len(curve) - FEWEST_POINTS + 1}."
        )
    return np.convolve(curve, np.full(width, 1 / width), mode="valid")


def pearson(contrast: Curve, structure: Curve) -> float:
    """Return Pearson's correlation of two curves (n,). Raises RequestError for a constant one."""
    for name, curve in (("contrast", contrast), ("structure", structure)):
        if np.ptp(curve) == 0:
            raise RequestError(
                f"The loss of {name} is {curve[0]:g} at every step: it has no correlation. Was "
                "the right column given?"
            )
    return float(np.corrcoef(contrast, structure)[0, 1])


def cosine(contrast: Curve, structure: Curve) -> float:
    """Return the cosine of the angle between two curves (n,), not centred: near 1 for losses."""
    return float(contrast @ structure / (np.linalg.norm(contrast) * np.linalg.norm(structure)))


def gradient_similarity(step: Curve, contrast: Curve, structure: Curve) -> float:
    """Return eq. 43, 2 sum(a b) / (sum(a^2) + sum(b^2)) with the slopes a and b of the curves.

    All are (n,); slopes are central differences over the steps, which may be uneven. Raises
    RequestError when both curves are constant.
    """
    # Slopes over uneven steps are not exactly 0, only nearly.
    if np.ptp(contrast) == 0 and np.ptp(structure) == 0:
        raise RequestError("Neither loss ever changes: there are no slopes to compare.")
    a, b = np.gradient(contrast, step), np.gradient(structure, step)
    return float(2 * a @ b / (a @ a + b @ b))


def numbers(step: Curve, contrast: Curve, structure: Curve) -> dict[str, float]:
    """Return the numbers of HEADINGS of two curves (n,)."""
    return {
        "pearson": pearson(contrast, structure),
        "cosine": cosine(contrast, structure),
        "gradient_similarity": gradient_similarity(step, contrast, structure),
    }


def plot(path: Path, curves: Sequence[tuple[str, Curve, Curve]]) -> None:
    """Draw curves (name, step, loss), each divided by its first value, on a logarithmic scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, step, curve in curves:
        axes.plot(step, curve / curve[0], label=name)
    axes.set(xlabel="step", ylabel="loss, of its first value", yscale="log")
    for axis_format in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis_format("{x:g}")
    axes.legend()
    figure.savefig(path, dpi=150)


def as_csv(
    found: Sequence[tuple[str, dict[str, float]]], headings: Iterable[str] = tuple(HEADINGS)
) -> str:
    """Return the numbers of rows by name as a CSV file, in the form of ``evaluate.py``.

    Where that has patients, the times are counted that a name comes: seeds, or rounds.
    """
    text, seeds = io.StringIO(), Counter[str]()
    columns = ("label", "patient", "weights", "contrastsynth", *headings)
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for name, values in found:
        told = {"label": name, "patient": str(seeds[name]), "contrastsynth": __version__}
        writer.writerow(told | {key: f"{value:.7g}" for key, value in values.items()})
        seeds[name] += 1
    return text.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Read, compare, print."""
    chosen = parse(arguments)
    found, drawn = [], []
    try:
        print(f"| training | points | {' | '.join(HEADINGS.values())} |")
        print("|---" * (len(HEADINGS) + 2) + "|")
        for text in chosen.curves:
            name, _, path = text.rpartition("=")
            curves = read_curves(Path(path), (chosen.contrast, chosen.structure))
            step, *losses = (moving_average(curve, chosen.smooth) for curve in curves)
            found.append((name or Path(path).stem, numbers(step, *losses)))
            for column, loss in zip((chosen.contrast, chosen.structure), losses, strict=True):
                drawn.append((f"{name} {column}".strip(), step, loss))
            cells = " | ".join(f"{number:.4f}" for number in found[-1][1].values())
            print(f"| {found[-1][0]} | {len(step)} | {cells} |")
        if chosen.plot:
            plot(chosen.plot, drawn)
        if chosen.csv:
            chosen.csv.write_text(as_csv(found), encoding="utf-8")
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(
        f"\n{chosen.contrast} and {chosen.structure}, moving average over {chosen.smooth}. The "
        "cosine is that of the raw, positive curves: it is near 1 for any two losses."
    )
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("curves", nargs="+", metavar="[NAME=]CURVES.csv")
    add("--contrast", required=True, metavar="COLUMN")
    add("--structure", required=True, metavar="COLUMN")
    add("--smooth", type=int, default=1, metavar="POINTS", help="moving average")
    add("--csv", type=Path, metavar="FILE", help="keeps the numbers")
    add("--plot", type=Path, metavar="PNG")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
