"""What a data set of results says of itself, and the sidecar of each image.

Nothing of the computer that made them stands in it: no path, no name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ContrastSynthLib.acquisition import BIDS_KEYS
from ContrastSynthLib.bids.dataset import Dataset
from ContrastSynthLib.bids.sources import Sources
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry.volumes import IMAGE, LABELS, MAP
from ContrastSynthLib.running.stored_result import StoredOutput
from ContrastSynthLib.volumes import Volume

PROGRAM = "ContrastSynth"
BIDS_VERSION = "1.9.0"
"""The version of BIDS by whose rules the data set is named."""
RAW_URI = "bids:raw:"
RESEARCH_USE_ONLY = "research use only"
ACQUISITION = {
    name: key for key, name in BIDS_KEYS.items() if name not in ("agent", "repetition_time_s")
} | {"repetition_time_s": "RepetitionTimeExcitation"}
"""Keys of BIDS by the parameter. Of an agent nothing is said: none was given for this image."""


@dataclass(frozen=True)
class Made:
    """What made a result, of its provenance."""

    key: str
    title: str
    version: str
    weights: tuple[str, ...]
    intended_use: str

    @classmethod
    def of(cls, case: str, provenance: Mapping[str, Any]) -> Made:
        """Return it; RequestError for what is not the provenance of a synthetic result."""
        try:
            if provenance["synthetic"] is not True:
                raise ValueError("it does not say that it is synthetic")
            return cls(
                str(provenance["method"]["key"]),
                str(provenance["method"]["title"]),
                str(provenance["software"]["contrastsynth"]),
                tuple(str(entry["id"]) for entry in provenance["weights"]),
                str(provenance["intended_use"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError(
                f"{case}: the provenance is not that of a run of ContrastSynth ({error})."
            ) from error


def sidecar(output: StoredOutput, volume: Volume, made: Made, sources: Sources) -> dict[str, Any]:
    """Return what stands beside an image: what it is, what made it, from what."""
    kind = output.described.get("kind")
    weights = f" with the weights {', '.join(made.weights)}" if made.weights else ""
    acquisition = volume.acquisition
    said: dict[str, Any] = {
        "Description": f"SYNTHETIC {output.name} by {PROGRAM} {made.version}, method {made.key} "
        f"({made.title}){weights}. {RESEARCH_USE_ONLY.capitalize()}.",
        "Synthetic": True,
        "IntendedUse": made.intended_use,
        "Method": made.key,
        "Output": output.name,
        "Weights": list(made.weights),
        "SoftwareName": PROGRAM,
        "SoftwareVersion": made.version,
        "Sources": [RAW_URI + place for place in sources.places],
        "SpatialReference": RAW_URI + sources.reference.place,
        "SkullStripped": sources.skull_stripped,
        "Units": _unit(output, sources),
    }
    if kind == LABELS:
        said["LabelMap"] = dict(output.described.get("labels", {}))
    if kind == MAP:
        said["Range"] = [output.described.get("low"), output.described.get("high")]
    if kind == IMAGE:
        # How the imitated scan was made; a map is no scan.
        known = acquisition.known()
        said |= {key: known[name] for name, key in ACQUISITION.items() if name in known}
    more = {
        "DoseFraction": acquisition.dose_fraction,
        "DoseMmolPerKg": acquisition.dose_mmol_per_kg,
        "TimeAfterInjection": acquisition.time_s,
    }
    return said | {key: value for key, value in more.items() if value is not None}


def _unit(output: StoredOutput, sources: Sources) -> str:
    """Return the unit of the voxels: of an image, the scan whose arbitrary units it has."""
    if output.described.get("kind") != IMAGE:
        return str(output.described.get("unit") or "1")
    imitated = sources.scans.get(str(output.described.get("units_of")))
    return f"arbitrary, as in {RAW_URI}{imitated[0].place}" if imitated else "arbitrary"


def dataset_description(dataset: Dataset, versions: Iterable[str], link: str) -> dict[str, Any]:
    """Return the description of the data set of results; ``link`` leads to that of the scans."""
    said = dataset.description
    name = " ".join(str(said.get("Name") or "a BIDS data set").split())
    doi = said.get("DatasetDOI")
    source = {"URL": RAW_URI} | ({"DOI": doi} if isinstance(doi, str) and doi else {})
    described = {
        "Name": f"Synthetic images of {name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": PROGRAM,
                "Version": version,
                "Description": f"Synthetic contrast-enhanced MR, {RESEARCH_USE_ONLY}",
            }
            for version in sorted(set(versions))
        ],
        "SourceDatasets": [source],
        "DatasetLinks": {"raw": link},
    }
    kinds = {"License": str, "Authors": list}
    copied = {key: said[key] for key, kind in kinds.items() if isinstance(said.get(key), kind)}
    return described | copied


def readme(name: str, methods: Iterable[str]) -> str:
    """Return the text of the README."""
    return (
        f"# {name}\n\n"
        f"All images and maps in this data set are SYNTHETIC. {PROGRAM} computed them from the "
        f"scans of another data set, by the methods {', '.join(sorted(set(methods)))}. They are "
        f"for {RESEARCH_USE_ONLY}, and no diagnosis may be based on them.\n\n"
        "- The labels of desc- begin with 'synthetic' and name the output and the method.\n"
        "- T1w are images, and maps in the unit of an image; probseg are maps from 0 to 1; dseg "
        "are labels.\n"
        "- The sidecar of each has its sources, method, weights, version, unit and dose.\n"
        "- Each NIfTI file says SYNTHETIC in the field descrip of its header.\n"
    )
