"""Draw virtual examples beside real ones, as the training sees them, to look at.

    python training/picture_examples.py --data PAIRS --maps maps --out examples.png

Three rows of crops, two panels for each: the scan after the agent, and what the agent adds to it.
Above virtual patients with the agent everywhere, an even one, and the contrast of the literature;
then virtual patients as the training draws them; below real pairs. Pictures of patients may be
shown only where the terms of their data allow it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from data.agent_maps import KeptMaps
from data.mixed_crops import SEEN, Crops, Recipe, Sources
from data.real_pairs import prepare_pairs, read_table

from ContrastSynthLib.plots.figures import BACKGROUND, TITLE, figure_png, load_matplotlib

PLAIN = ("switched", "own_contrast", "uneven", "mottled", "point_spread", "changed")
"""Parts of the recipe that make virtual patients differ from each other beyond their anatomy."""
WITH_AGENT = ("no_agent", "pasted", "virtual_agent", "other_views")
COLUMNS = 5
GREY, RISE = (0.0, 2.2), (0.0, 1.0)
"""Windows of the scan and of what agent adds, in means of the brain."""
LEAST_UPTAKE = 150
"""Pixels of uptake that an example needs to be shown."""


def main() -> None:
    """Draw the three rows."""
    arguments = read_arguments()
    pairs = prepare_pairs(read_table(arguments.data), arguments.pairs)
    maps = KeptMaps(arguments.maps)
    plain = Recipe(real=0).without((*PLAIN, *WITH_AGENT))
    rows = {
        "virtual, plain": plain,
        "virtual, as trained on": Recipe(real=0).without(WITH_AGENT),
        "real": Recipe(real=1).without((*WITH_AGENT, "changed")),
    }
    drawn = {
        name: examples(Sources(pairs, maps, arguments.crop, recipe), arguments.seed)
        for name, recipe in rows.items()
    }
    arguments.out.write_bytes(picture(drawn))


def examples(sources: Sources, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return COLUMNS examples with uptake: scan and rise, (rows, columns), in brain means."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    stream = iter(Crops(sources, seed))
    while len(found) < COLUMNS:
        example = next(stream)
        if (example["uptake"] > 0.5).sum() > LEAST_UPTAKE:
            post = example["post"][SEEN // 2].numpy()
            found.append((post, post - example["pre"][0].numpy()))
    return found


def picture(drawn: dict[str, list[tuple[np.ndarray, np.ndarray]]]) -> bytes:
    """Return the rows of examples as PNG."""
    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(14, 4.6), dpi=100, facecolor=BACKGROUND)
    grid = figure.add_gridspec(
        len(drawn), 2 * COLUMNS, wspace=0.03, hspace=0.2, left=0.01, right=0.99, top=0.93, bottom=0
    )
    for row, (name, pairs) in enumerate(drawn.items()):
        for column, images in enumerate(pairs):
            for side, (image, window) in enumerate(zip(images, (GREY, RISE), strict=True)):
                axes = figure.add_subplot(grid[row, 2 * column + side])
                axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1])
                axes.set_axis_off()
                if column == side == 0:
                    axes.set_title(name, color=TITLE, fontsize=9, loc="left", pad=3)
    return figure_png(figure, 100)


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of pairs")
    add("--maps", type=Path, required=True, help="folder of make_slabs.py --for real_pairs")
    add("--pairs", type=Path, required=True, help="folder to keep the matched pairs in")
    add("--out", type=Path, required=True, help="PNG file")
    add("--crop", type=int, default=112)
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
