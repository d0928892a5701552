"""The report of :func:`~ContrastSynthLib.analysis.evaluation.evaluate` as rows of a table.

Each row explains a number: region, measure, unit, whether lower or higher is better, data range,
normalisation, and a description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LESS, MORE = "lower", "higher"
IMAGES = "images"
UNITS = {"median": "medians", "none": "file units"}
"""The unit of images for each normalisation; it replaces IMAGES in the units below."""

COLUMNS = ("region", "measure", "value", "unit", "better", "data_range", "normalisation", "about")


@dataclass(frozen=True)
class Meaning:
    """Description of a number of the report; ``in_range`` if it depends on the data range."""

    title: str
    unit: str = ""
    better: str = ""
    about: str = ""
    in_range: bool = False


IN_A_REGION = {
    "voxels": Meaning("Voxels", about="Size of the region."),
    "volume_ml": Meaning("Volume", "ml", about="Size of the region."),
    "mae": Meaning("MAE", IMAGES, LESS, "Mean absolute error."),
    "rmse": Meaning("RMSE", IMAGES, LESS, "Root of the mean squared error."),
    "relative_error": Meaning(
        "Relative error", "", LESS, "Norm of the error / norm of the reference."
    ),
    "psnr_db": Meaning("PSNR", "dB", MORE, "Peak signal-to-noise ratio.", in_range=True),
    "ssim": Meaning("SSIM", "", MORE, "Structural similarity; 1 at best.", in_range=True),
    "ssim_dimensions": Meaning("SSIM dimensions", about="3: in 3D; 2: slice by slice."),
    "cfs": Meaning("CFS", "", MORE, "Contrast fidelity score of SPHERE, of means; 1 at best."),
    "irc": Meaning("IRC", "", MORE, "Intensity range consistency of SPHERE; 1 at best."),
    "eis": Meaning("EIS", "", MORE, "Edge intensity similarity of SPHERE; -1 to 1."),
    "gradient_magnitude_rmse": Meaning(
        "Edge RMSE", IMAGES, LESS, "RMSE of gradient magnitudes, per voxel; called GMSD in SPHERE."
    ),
    "gmsd": Meaning("GMSD", "", LESS, "Deviation of gradient similarity, Xue 2014.", in_range=True),
}
CONTRAST = {
    "cnr_error": Meaning("CNR error", "", LESS, "Error of the contrast-to-noise ratio."),
    "mae_ce": Meaning("MAE_CE", IMAGES, LESS, "Mean absolute error in enhancing voxels."),
    "mae_sigma": Meaning(
        "MAE_sigma", IMAGES, LESS, "Error of the noise's standard deviation elsewhere."
    ),
}
ENHANCEMENT = {
    "found_count": Meaning("Found", "lesions", "", "Real lesions that the synthetic scan shows."),
    "missed_count": Meaning("Missed", "lesions", LESS, "Real lesions that it does not show."),
    "invented_count": Meaning("Invented", "lesions", LESS, "Lesions that only it shows."),
    "found_ml": Meaning("Found", "ml", "", "Volume of the real lesions that it shows."),
    "missed_ml": Meaning("Missed", "ml", LESS, "Volume of the real lesions that it does not show."),
    "invented_ml": Meaning("Invented", "ml", LESS, "Volume of the lesions that only it shows."),
    "lost_part_ml": Meaning("Lost parts", "ml", LESS, "Parts of found lesions that are missing."),
    "added_part_ml": Meaning("Added parts", "ml", LESS, "Parts added to real lesions."),
    "threshold": Meaning("Threshold", IMAGES, "", "Differences above it are enhancement."),
}
UPTAKE = {
    "share_of_brain": Meaning("Share", about="Size of the uptake, as a share of the region."),
    "threshold": Meaning("Threshold", about="As a share of the convention's reference level."),
}
SCALE = {
    "do_nothing_psnr_db": Meaning("Input unchanged", "dB", "", "PSNR of the post scan."),
    "reachable_psnr_db": Meaning(
        "Reachable", "dB", "", "PSNR if the uptake were removed perfectly."
    ),
    "gain_db": Meaning("Gain", "dB", MORE, "PSNR of the result minus that of the post scan."),
    "share_of_reachable": Meaning(
        "Share of gain", "", MORE, "Gain / reachable gain; 1: all of it."
    ),
    "uptake_mae_of_do_nothing": Meaning(
        "Error left", "", LESS, "MAE in the uptake / that of the unchanged post scan."
    ),
}
NOISE = {
    "variance": Meaning(
        "Variance", f"{IMAGES}²", LESS, "Variance of the error about its mean in each slice."
    )
}


def evaluation_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the numbers of a report as rows with the keys COLUMNS; undefined values are None."""
    normalisation = report["normalisation"]
    rows = []
    for region, values, meanings in _groups(report):
        for name, meaning in meanings.items():
            if name not in values:
                continue
            rows.append(
                {
                    "region": region,
                    "measure": meaning.title,
                    "value": values[name],
                    "unit": meaning.unit.replace(IMAGES, UNITS[normalisation]),
                    "better": meaning.better,
                    "data_range": report["data_range"] if meaning.in_range else None,
                    "normalisation": normalisation,
                    "about": meaning.about,
                }
            )
    return rows


def measured_by(report: Mapping[str, Any]) -> str:
    """Return, as sentences, the settings that all numbers of a report depend on."""
    return (
        f"Intensities: {report['unit']}. Data range: {report['data_range']:.4g}, the "
        f"{report['data_range_from']}. "
        f"{str(report.get('brain_is', 'brain')).capitalize()}: {report['brain_from']}."
    )


def _groups(
    report: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Meaning]]]:
    """Yield title, numbers and their descriptions for each part of a report."""
    regions = report["regions"]
    # In a whole head it is no brain; reports of older versions do not say so.
    brain = str(report.get("brain_is", "brain")).capitalize()
    titles = {"brain": brain, "mask": "Mask", "uptake": "Uptake"}
    for key, title in titles.items():
        if key in regions:
            yield title, regions[key], IN_A_REGION
    parts = {
        "uptake": ("Uptake", UPTAKE),
        "enhancement": ("Lesions", ENHANCEMENT),
        "contrast": ("Uptake and the rest", CONTRAST),
        "scale": ("Compared with the input", SCALE),
        "noise": ("Noise", NOISE),
    }
    for key, (title, meanings) in parts.items():
        if key in report:
            yield title, report[key], meanings
