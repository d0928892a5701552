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
from picture_rows import (
    WHITE_PERCENTILE,
    Image,
    Line,
    about,
    around_centre,
    axial_slice,
    figure_of,
    write_picture,
)

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.plots.figures import figure_png
from ContrastSynthLib.volumes import BoolArray, FloatArray

TRUE = "true"
ZOOM = 16
"""Pixels on each side of the lesion's centre."""


def main(arguments: list[str] | None = None) -> int:
    """Draw all cases that were asked for in one figure."""
    chosen = parse(arguments)
    try:
        rows = [Row.parse(text) for text in chosen.row]
        lines: list[Line] = []
        for case in chosen_cases(chosen):
            lines += lines_of(case, {row.name: row.make(case) for row in rows}, zoom=chosen.zoom)
            print(case.name, file=sys.stderr, flush=True)
        write_picture(chosen.out, figure_png(figure_of(lines)))
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
    mask = _displayed(case, lesion if zoom else case.body, place)
    cut = around_centre(mask, ZOOM) if zoom else about(mask)
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
    return axial_slice(case.pre.with_array(image.astype(np.float32), case.pre.synthetic), place)


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
