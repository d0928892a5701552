"""Virtual brains beside real ones: a table of figures and a page of pictures.

    python Testing/phantom_report.py REAL_SCANS_FOLDER OUTPUT_FOLDER [--patients 20]

The same code measures both. The pictures show real slices beside virtual ones, so they hold
parts of the real scans and stay out of the repository.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.phantom.brain.patient import brain_patient
from ContrastSynthLib.volumes import Volume

REAL = ("brats20_186", "tcga_fg_6692", "open_ms_p07")
BANDS_PER_MM = ((0.02, 0.05), (0.05, 0.10), (0.10, 0.20), (0.20, 0.40))
VIRTUAL_PICTURES, REAL_PICTURES = 24, 12


def tissue_levels(pre: np.ndarray, brain: np.ndarray) -> list[np.ndarray]:
    """Return masks of CSF, grey and white matter by the two Otsu thresholds of the pre scan."""
    from skimage.filters import threshold_multiotsu

    inside = binary_erosion(brain, iterations=3)
    values = pre[inside]
    top = np.percentile(values, 99.5)
    low, high = threshold_multiotsu(np.minimum(values, top), classes=3)
    return [inside & (pre < low), inside & (pre >= low) & (pre < high), inside & (pre >= high)]


def noise_level(image: np.ndarray, where: np.ndarray) -> float:
    """Return the standard deviation of the in-plane diagonal differences, robustly."""
    detail = image[:, 1:, 1:] - image[:, :-1, 1:] - image[:, 1:, :-1] + image[:, :-1, :-1]
    kept = binary_erosion(where)[:, 1:, 1:]
    return float(np.median(np.abs(detail[kept])) / 0.6745 / 2)


def band_powers_db(image: np.ndarray, brain: np.ndarray) -> list[float]:
    """Return the radial power of axial slices by band, in dB below the lowest band."""
    image = image / np.median(image[brain])
    heights = np.flatnonzero(brain.sum(axis=(1, 2)) > 0.6 * brain.sum(axis=(1, 2)).max())
    slices = image[heights[::4]] * brain[heights[::4]]
    power = (np.abs(np.fft.fft2(slices)) ** 2).mean(axis=0)
    radius = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, power.shape), indexing="ij"))
    bands = [power[(radius >= low) & (radius < high)].mean() for low, high in BANDS_PER_MM]
    return [float(10 * np.log10(band / bands[0])) for band in bands[1:]]


def figures(pre: Volume, post: Volume) -> dict[str, float]:
    """Return all figures of one pair, real or virtual."""
    brain = (pre.array > 0) & (post.array > 0)
    csf, grey, white = tissue_levels(pre.array, brain)
    row: dict[str, float] = {}
    for name, scan in (("pre", pre.array), ("post", post.array)):
        level = np.median(scan[white])
        row[f"GM/WM {name}"] = float(np.median(scan[grey]) / level)
        row[f"CSF/WM {name}"] = float(np.median(scan[csf]) / level)
        row[f"noise/WM {name} %"] = 100 * noise_level(scan, white) / float(level)
    row["CSF share %"] = 100 * float(csf.sum() / (csf | grey | white).sum())
    row["WM share %"] = 100 * float(white.sum() / (csf | grey | white).sum())
    found = uptake(pre, post, brain, convention="real_scans")
    row["uptake share %"] = 100 * found.share_of_brain
    scale = evaluate(pre, post, pre=pre, post=post)["scale"]
    row["post for pre dB"] = scale["do_nothing_psnr_db"]
    row["reachable dB"] = scale["reachable_psnr_db"]
    for (low, high), decibel in zip(
        BANDS_PER_MM[1:], band_powers_db(pre.array, brain), strict=True
    ):
        row[f"power {low}-{high}/mm dB"] = decibel
    return row


def print_table(real: dict[str, dict[str, float]], virtual: list[dict[str, float]]) -> None:
    """Print each figure of the real pairs, and range and median of the virtual ones."""
    print(f"{'':22s}" + "".join(f"{name:>14s}" for name in real) + "   virtual min  median  max")
    for key in virtual[0]:
        values = np.array([row[key] for row in virtual])
        given = [row[key] for row in real.values()]
        inside = values.min() <= min(given) and max(given) <= values.max()
        cells = "".join(f"{value:14.3f}" for value in given)
        print(
            f"{key:22s}{cells}   {values.min():8.3f}{np.median(values):8.3f}{values.max():8.3f}"
            + ("" if inside else "   NOT COVERED")
        )


def slices_of(pre: Volume, post: Volume, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return pictures of random heights: pre above post above their difference."""
    brain = (pre.array > 0) & (post.array > 0)
    before, after = (scan.array / np.median(scan.array[brain]) for scan in (pre, post))
    flipped = pre.grid.direction[4] < 0
    heights = np.flatnonzero(brain.sum(axis=(1, 2)) > 2500)
    pictures = []
    for k in rng.choice(heights[2:-2], count, replace=False):
        stack = [before[k] / 1.5, after[k] / 1.8, (after[k] - before[k]) * brain[k] + 0.3]
        stack = [image[::-1] if flipped else image for image in stack]
        rows, columns = (np.flatnonzero(brain.any(axis=a)) for a in ((0, 2), (0, 1)))
        if flipped:
            rows = brain.shape[1] - 1 - rows[::-1]
        cut = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        stack = [np.clip(image[cut], 0, 1) for image in stack]
        canvas = np.zeros((3 * 200, 168))
        for number, image in enumerate(stack):
            image = image[:200, :168]
            top, left = (200 - image.shape[0]) // 2 + 200 * number, (168 - image.shape[1]) // 2
            canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
        pictures.append(canvas)
    return pictures


def save_page(pictures: list[np.ndarray], columns: int, path: Path) -> None:
    """Write a page of pictures side by side."""
    import matplotlib.image

    rows = [np.hstack(pictures[i : i + columns]) for i in range(0, len(pictures), columns)]
    matplotlib.image.imsave(path, np.vstack(rows), cmap="gray", vmin=0, vmax=1)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real_scans", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--kind", default="training")
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    real, shown_real = {}, []
    for case in REAL:
        pair = [read_volume(chosen.real_scans / case / f"{name}.nii.gz") for name in ("t1", "t1c")]
        real[case] = figures(*pair)
        shown_real += slices_of(*pair, REAL_PICTURES // len(REAL), rng)
    virtual, shown = [], []
    for seed in range(chosen.patients):
        scans = brain_patient(
            seed, kind=chosen.kind, corruption=None, doses=(), only=("pre", "post")
        ).scans
        virtual.append(figures(scans["pre"], scans["post"]))
        count = -(-VIRTUAL_PICTURES // chosen.patients)
        shown += slices_of(scans["pre"], scans["post"], count, rng)
    print_table(real, virtual)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "figures.json").write_text(json.dumps({"real": real, "virtual": virtual}))
    for page in range(2):
        left = shown_real[page::2]
        right = shown[page * VIRTUAL_PICTURES // 2 : (page + 1) * VIRTUAL_PICTURES // 2]
        save_page(left + right, 6, chosen.out / f"page{page + 1}.png")


if __name__ == "__main__":
    main()
