"""Draw later phases of breasts beside the true ones, as iterU-Net's figure 3 does.

    python training/picture_phases.py --virtual 3 --row iterU-Net=iter_unet --row held=held \\
        --out phases.png

Of each patient the axial slice with the most of the largest lesion: a line of the true phases and a
line of each row, called after the type of the lesion's curve (I persistent, II plateau, III
washout). They show the body, or with ``--zoom`` what is about the lesion. All images of a patient
have one grey window. Rows, patients and series of a file are given as to ``evaluate_series.py``.
Pictures of patients may be shown only where the terms of their data allow it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from evaluate_series import Row, add_cases_and_rows, chosen_cases
from evaluation.later_phases import Case, curves_of
from picture_rows import WHITE_PERCENTILE, Image, Line, figure_of
from scipy import ndimage

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.plots.figures import display_slice, figure_png
from ContrastSynthLib.volumes import BoolArray, FloatArray

TRUE = "true"
MARGIN, ZOOM = 3, 16
"""Pixels around the body, and about half of the part around the lesion."""


def main(arguments: list[str] | None = None) -> int:
    """Draw all cases that were asked for in one figure."""
    chosen = parse(arguments)
    try:
        rows = [Row.parse(text) for text in chosen.row]
        lines: list[Line] = []
        for case in chosen_cases(chosen):
            lines += lines_of(case, {row.name: row.make(case) for row in rows}, zoom=chosen.zoom)
            print(case.name, file=sys.stderr, flush=True)
        with whole_or_nothing(chosen.out.parent) as part:
            (part / chosen.out.name).write_bytes(figure_png(figure_of(lines)))
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def lines_of(case: Case, made: Mapping[str, FloatArray], *, zoom: bool) -> list[Line]:
    """Return the lines of a case: its true phases, then those that were made (t, k, j, i).

    Raises RequestError for a case without a lesion.
    """
    if not any(lesion.any() for lesion in case.lesions):
        raise RequestError(f"{case.name}: no voxel is a lesion, so there is nothing to show.")
    number = int(np.argmax([lesion.sum() for lesion in case.lesions]))
    lesion = case.lesions[number]
    place = int(lesion.sum(axis=(1, 2)).argmax())
    cut = _about(case, lesion, place) if zoom else _about_body(case, place)
    frames = (case.early, *case.wanted)
    given, *later = (f"{case.times_s[frame]:g} s" for frame in frames)
    titles = [f"given: {given}", *later]
    real = [case.series.volumes[frame].array for frame in frames]
    phases = {TRUE: dict(zip(titles, real, strict=True))}
    phases |= {name: dict(zip(later, each, strict=True)) for name, each in made.items()}
    images: dict[str, dict[str, Image | None]] = {
        name: {
            title: _displayed(case, shown[title], place)[cut] if title in shown else None
            for title in titles
        }
        for name, shown in phases.items()
    }
    seen = np.concatenate([image.ravel() for image in images[TRUE].values() if image is not None])
    window = (0.0, float(np.percentile(seen, WHITE_PERCENTILE)))
    curve, _ = curves_of(case, np.stack(real[1:]))[number]
    return [
        Line(f"{case.name}, type {curve.type}: {name}", shown, window)
        for name, shown in images.items()
    ]


def _displayed(case: Case, image: FloatArray | BoolArray, place: int) -> Image:
    """Return an axial slice (rows, columns), right on the left and anterior on top."""
    grid = case.pre.grid
    middle = (np.array(image.shape) - 1) / 2
    middle[0] = place
    at = grid.ras_from_index(middle).tolist()
    volume = case.pre.with_array(image.astype(np.float32), case.pre.synthetic)
    return display_slice(volume, "axial", at)[0]


def _about_body(case: Case, place: int) -> tuple[slice, slice]:
    """Return the rows and columns of the body in a slice."""
    shown = _displayed(case, case.body, place) > 0
    ends = [np.flatnonzero(shown.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    rows, columns = (slice(max(a - MARGIN, 0), b + 1 + MARGIN) for a, b in ends)
    return rows, columns


def _about(case: Case, lesion: BoolArray, place: int) -> tuple[slice, slice]:
    """Return the rows and columns about a lesion in a slice."""
    shown = _displayed(case, lesion, place)
    row, column = (int(number) for number in ndimage.center_of_mass(shown))
    return slice(max(row - ZOOM, 0), row + ZOOM), slice(max(column - ZOOM, 0), column + ZOOM)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_cases_and_rows(parser)
    parser.add_argument("--zoom", action="store_true", help="only what is about the lesion")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the figure")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
