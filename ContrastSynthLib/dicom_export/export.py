"""A result to DICOM objects in a folder: images, maps, segmentations, measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label

from ContrastSynthLib.analysis.regions import Region, list_regions
from ContrastSynthLib.dicom_export.burn_in import burnt_in
from ContrastSynthLib.dicom_export.classic import classic_series
from ContrastSynthLib.dicom_export.deidentified import Deidentifier, Privacy, silence
from ContrastSynthLib.dicom_export.enhanced import enhanced_image
from ContrastSynthLib.dicom_export.marks import Made, save
from ContrastSynthLib.dicom_export.measures import measurement_report, region_groups
from ContrastSynthLib.dicom_export.objects import parametric_map, segmentation
from ContrastSynthLib.dicom_export.stored import Stored
from ContrastSynthLib.dicom_export.tables import MeasuredRow, groups_of, read_table
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.registry.volumes import IMAGE, LABELS, MAP, TAKEN_UP, UPTAKE
from ContrastSynthLib.running.stored_result import StoredOutput, StoredResult
from ContrastSynthLib.volumes import BoolArray, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SMALLEST_MM3 = 100.0
"""Smaller regions of uptake are one segment together."""
MOST_REGIONS = 50
FIRST_NUMBER = 9000


@dataclass(frozen=True)
class Exported:
    """The files that were written, relative to their folder, and what to be careful about."""

    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def export(
    result: StoredResult,
    template: Template,
    folder: Path,
    *,
    enhanced: bool = False,
    burn_in: bool = False,
    privacy: Privacy | None = None,
    measures: Sequence[Path] = (),
) -> Exported:
    """Write all outputs of a result as DICOM objects of the template's study, all or none.

    Images become a classic MR series, or with ``enhanced`` one Enhanced MR file each; maps become
    Parametric Maps, labels and the regions of the uptake Segmentations, and the volumes of these
    regions a Structured Report. ``burn_in`` writes SYNTHETIC into the images. With ``privacy``
    nothing tells of the patient. ``measures`` are tables of kinetics and line profiles, which
    become another report.

    Raises RequestError for a folder that holds anything, for text in Enhanced MR images, for a
    result that is not synthetic, for voxels that are not those of the template, for tables that
    hold no measures, and with ``privacy`` for a face that can be seen.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RequestError(f"{folder}: is not empty. The series need a folder of their own.")
    if enhanced and burn_in:
        raise RequestError(
            "Enhanced MR images may have no text burnt in. Leave out one of --enhanced and "
            "--burn-in."
        )
    made = Made.of(result.provenance)
    cleaner = Deidentifier.of(privacy, result, made, template) if privacy else None
    writer = _Writer(template, made, enhanced, burn_in)
    rows = [row for table in measures for row in read_table(table)]
    with whole_or_nothing(folder) as part, silence() if cleaner else nullcontext():
        files = [
            save(cleaner.cleaned(dataset) if cleaner else dataset, part / name).relative_to(part)
            for name, dataset in writer.all_objects(result.outputs, rows)
        ]
        if cleaner:
            cleaner.check(part)
    return Exported(tuple(files), tuple(_doubts(result, template)))


@dataclass
class _Writer:
    template: Template
    made: Made
    enhanced: bool
    burn_in: bool
    last_number: int = FIRST_NUMBER

    def all_objects(
        self, outputs: Iterable[StoredOutput], rows: list[MeasuredRow]
    ) -> Iterable[tuple[str, Dataset]]:
        """Yield the objects of outputs and the report of rows, with the names of their files."""
        for output in outputs:
            yield from self._objects(output)
        if rows:
            yield "measures.dcm", self._report(rows)

    def _objects(self, output: StoredOutput) -> Iterable[tuple[str, Dataset]]:
        kind = output.described.get("kind")
        for place, volume in enumerate(output.volumes, start=1):
            name = output.name if len(output.volumes) == 1 else f"{output.name}_{place}"
            fitted = self.template.onto(volume, name)
            if kind == IMAGE:
                yield from self._image(name, fitted)
            elif kind == MAP:
                yield from self._map(name, fitted, str(output.described.get("unit", "")))
            elif kind == LABELS:
                yield from self._labels(name, fitted, output.described["labels"])

    def _image(self, name: str, volume: Volume) -> Iterable[tuple[str, Dataset]]:
        stored = Stored.of(volume.array, self.template)
        if self.burn_in:
            stored = burnt_in(stored)
        time_s = volume.acquisition.time_s
        at = "" if time_s is None else f" at {time_s:g} s"
        titled = (self.template, self.made, self._title(f"{name}{at}"), self._number())
        made = (
            [enhanced_image(stored, *titled)] if self.enhanced else classic_series(stored, *titled)
        )
        for number, dataset in enumerate(made, start=1):
            if self.burn_in:
                dataset.BurnedInAnnotation = "YES"
            yield (f"{name}.dcm" if self.enhanced else f"{name}/{number:04d}.dcm"), dataset

    def _map(self, name: str, volume: Volume, unit: str) -> Iterable[tuple[str, Dataset]]:
        title = self._title(name)
        yield (
            f"{name}.dcm",
            parametric_map(
                volume.array, self.template, self.made, title, name, self._number(), unit
            ),
        )
        if name == UPTAKE:
            yield from self._regions(name, volume)

    def _regions(self, name: str, volume: Volume) -> Iterable[tuple[str, Dataset]]:
        """Yield the regions of the uptake as segments, and their measures."""
        where = volume.array >= TAKEN_UP
        if not where.any():
            return
        found = list_regions(volume.array, where, volume.grid, minimum_volume_mm3=SMALLEST_MM3)
        shown = found.regions[:MOST_REGIONS]
        labels = _labelled(where, shown, volume.grid)
        names = {region.id: f"Contrast uptake, region {region.id}" for region in shown}
        rest = len(names) + 1
        labels[where & (labels == 0)] = rest
        if (labels == rest).any():
            names[rest] = "Contrast uptake, smaller regions"
        titled = (self.template, self.made)
        title = self._title(f"{name} mask")
        segments = segmentation(labels, names, *titled, title, self._number())
        yield f"{name}_mask.dcm", segments
        groups = region_groups(shown, segments, *titled)
        evidence = [segments, *self.template.datasets]
        report = measurement_report(groups, evidence, *titled, self._title(name), self._number())
        yield f"{name}_measures.dcm", report

    def _labels(
        self, name: str, volume: Volume, named: Mapping[str, str]
    ) -> Iterable[tuple[str, Dataset]]:
        labels = np.rint(volume.array).astype(np.int32)
        names = {int(label): text for label, text in named.items() if (labels == int(label)).any()}
        if names:
            title = self._title(name)
            yield (
                f"{name}.dcm",
                segmentation(labels, names, self.template, self.made, title, self._number()),
            )

    def _report(self, rows: list[MeasuredRow]) -> Dataset:
        titled = (self.template, self.made)
        groups, evidence = groups_of(rows, *titled), self.template.datasets
        title = self._title("measures")
        return measurement_report(groups, evidence, *titled, title, self._number())

    def _title(self, name: str) -> str:
        return f"SYNTHETIC {name} ({self.made.key}), research use only"

    def _number(self) -> int:
        self.last_number += 1
        return self.last_number


def _labelled(where: BoolArray, regions: Sequence[Region], grid: Grid) -> NDArray[np.int32]:
    """Return the ids of regions (k, j, i) in a mask, 0 elsewhere."""
    touching = generate_binary_structure(3, 3)
    components, count = label(where, touching)
    ids = np.zeros(count + 1, np.int32)
    for region in regions:
        place = np.rint(grid.index_from_ras(region.inside_ras_mm)).astype(int)
        ids[components[tuple(place)]] = region.id
    labels: NDArray[np.int32] = ids[components]
    return labels


def _doubts(result: StoredResult, template: Template) -> list[str]:
    """Return a warning where the template may not be what the method has read."""
    inputs: Mapping[str, Any] = result.provenance.get("inputs", {})
    known = {one.get("sha256") for several in inputs.values() for one in several}
    if template.volume.sha256() in known:
        return []
    return [
        "Template: the method has read other files than this series, or this one in another "
        "format. Is it of the same scan?"
    ]
