"""The study of a real patient as a scanner would have left it: four series with their tags."""

from __future__ import annotations

import json

import pydicom
from making_study import study

from ContrastSynthLib.files.images import read_volume

CASE = "tcga_fg_6692_native"
T1 = {"RepetitionTime": "500", "EchoTime": "10", "ScanningSequence": "SE"}
SCANS = {
    "pre": ("Ax T1", "101500", T1),
    "t2": ("Ax T2 FSE", "102000", {"RepetitionTime": "4500", "EchoTime": "100"}),
    "flair": (
        "Ax FLAIR",
        "102500",
        {"RepetitionTime": "10000", "EchoTime": "140", "InversionTime": "2250"},
    ),
    "post": ("Ax T1 +C", "104000", T1 | {"ContrastBolusAgent": "Magnevist"}),
}


def untagged_study(real_scans, folder):
    """Write the scans with the same settings in all headers, as a converter does."""
    files = json.loads((real_scans / "cases.json").read_text("utf-8"))[CASE]
    volumes = {role: read_volume(real_scans / CASE / files[role]) for role in SCANS}
    return study(folder, volumes)


def retagged(folder, *, named):
    """Write what a scanner says of each series into its headers; with or without its name."""
    for role, (name, time, tags) in SCANS.items():
        for path in (folder / role).glob("*.dcm"):
            dataset = pydicom.dcmread(path)
            for keyword, value in ({"ScanningSequence": "SE"} | tags).items():
                setattr(dataset, keyword, value)
            dataset.AcquisitionTime = time
            dataset.SeriesDescription = name if named else "head"
            dataset.save_as(path)
    return folder
