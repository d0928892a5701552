"""Tables of measures, as ``kinetics`` and ``profile`` write them, as groups of a report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ContrastSynthLib.analysis import kinetic_rows, profile_rows
from ContrastSynthLib.analysis.profiles import line_profile
from ContrastSynthLib.dicom_export.marks import LONGEST_NAME, NAME, SCHEME, Made
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import plain_cell
from ContrastSynthLib.running.batch.grid import read_grid

UNITS = {"mL": "milliliter", "s": "second", "mm": "millimeter", "1": "no units"}


@dataclass(frozen=True)
class Quantity:
    """What a column has, as a coded concept, and its unit in UCUM.

    ``derivation`` is the statistic of several values, of SNOMED CT.
    """

    code: str
    meaning: str
    unit: str = "1"
    scheme: str = SCHEME
    derivation: tuple[str, str] | None = None


SIGNAL = ("SIGNAL_ON_LINE", "Signal along the line")
KINETICS = {
    "ml": Quantity("118565006", "Volume", "mL", "SCT"),
    "baseline": Quantity("SIGNAL_BEFORE", "Mean signal before the agent"),
    "arrival_s": Quantity("126371", "Bolus Arrival Time", "s", "DCM"),
    "initial_enhancement": Quantity("INITIAL_ENH", "Initial enhancement, (S1 - S0) / S0"),
    "delayed_change": Quantity("DELAYED_CHANGE", "Delayed change, (S2 - S1) / S1"),
    "signal_enhancement_ratio": Quantity("SER", "Signal enhancement ratio, (S1 - S0) / (S2 - S0)"),
    "time_to_peak_s": Quantity("113069", "Time To Peak", "s", "DCM"),
    "area_s": Quantity("AREA", "Area under the curve of (S - S0) / S0", "s"),
    "functional_tumour_ml": Quantity("FTV", "Functional tumour volume", "mL"),
}
LINE = {
    "length_mm": Quantity("410668003", "Length", "mm", "SCT"),
    "mean": Quantity(*SIGNAL, derivation=("373098007", "Mean")),
    "lowest": Quantity(*SIGNAL, derivation=("255605001", "Minimum")),
    "highest": Quantity(*SIGNAL, derivation=("56851009", "Maximum")),
    "edge_at_mm": Quantity("EDGE_AT", "Distance of the edge from the start of the line", "mm"),
    "edge_width_mm": Quantity("EDGE_WIDTH", "Width of the edge, from 10 % to 90 %", "mm"),
    "edge_step": Quantity("EDGE_STEP", "Step of the signal at the edge"),
    "edge_contrast": Quantity("EDGE_CONTRAST", "Contrast of the edge (Michelson)"),
}
TYPES = {
    "I": ("130597", "Persistent delayed phase: Type 1 curve"),
    "II": ("130598", "Plateau delayed phase: Type 2 curve"),
    "III": ("130599", "Washout delayed phase: Type 3 curve"),
}
SERIES = {
    kinetic_rows.REAL: ("REAL", "Images of a scanner"),
    kinetic_rows.SYNTHETIC: ("SYNTHETIC", "Synthetic images"),
}


@dataclass(frozen=True)
class MeasuredRow:
    """A row of a table: what was measured, and the cells by column."""

    name: str
    cells: Mapping[str, str]
    where: str
    """The file and the line, for messages."""

    @property
    def is_line(self) -> bool:
        """Whether it is of a line, not of a region."""
        return profile_rows.FROM[0] in self.cells

    def choice(self, column: str, choices: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
        """Return the code that a cell stands for. Raises RequestError for another than those."""
        cell = self.cells[column]
        if cell not in choices:
            raise RequestError(
                f"{self.where}: '{cell}' is no {column}. Expected {', '.join(choices)}."
            )
        return choices[cell]

    def number(self, column: str) -> float:
        """Return a number. Raises RequestError for another text."""
        try:
            value = float(self.cells[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise RequestError(
                f"{self.where}: '{self.cells[column]}' in {column} is not a finite number."
            )
        return value


def read_table(path: Path) -> list[MeasuredRow]:
    """Return the rows of a table of measures, of regions or of lines.

    Raises RequestError for what is no such table, and for one without rows.
    """
    grid = read_grid(path, (*kinetic_rows.MEASURE_COLUMNS, *profile_rows.MEASURE_COLUMNS))
    kinds = {"region": kinetic_rows.MEASURE_COLUMNS, "volume": profile_rows.MEASURE_COLUMNS}
    named = next((name for name, known in kinds.items() if set(known) <= {*grid.headings}), None)
    if named is None or not grid.rows:
        raise RequestError(
            f"{path.name}: is no table of measures with rows. Expected FILE-measures.csv, as "
            "'contrastsynth kinetics --csv FILE' and 'contrastsynth profile --csv FILE' write it."
        )
    found = []
    for row in grid.rows:
        cells = dict(zip(grid.headings, map(plain_cell, row.cells), strict=True))
        where = f"{path.name}: line {row.line}"
        found.append(MeasuredRow(cells[named], cells, where))
    return found


def groups_of(rows: list[MeasuredRow], template: Template, made: Made) -> Iterator[Any]:
    """Yield a group of measurements (TID 1501) for each row.

    Raises RequestError for cells that are no numbers, and for a line beside the template.
    """
    import highdicom as hd
    from pydicom.uid import generate_uid

    uids: dict[tuple[bool, str], str] = {}  # what was measured on two series is one thing
    for row in rows:
        uid = uids.setdefault((row.is_line, row.name), generate_uid(prefix=None))
        name = row.name[:LONGEST_NAME] or "unnamed"
        yield hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(uid=uid, identifier=name),
            finding_type=_finding(row),
            measurements=list(_measurements(row, template)),
            qualitative_evaluations=list(_evaluations(row)),
            algorithm_id=hd.sr.AlgorithmIdentification(
                name=f"{NAME} measures", version=made.version
            ),
        )


def _finding(row: MeasuredRow) -> Any:
    if row.is_line:
        return _concept("LINE", "Signal along a line")
    return _concept("ENHANCEMENT", "Enhancement over time")


def _measurements(row: MeasuredRow, template: Template) -> Iterator[Any]:
    import highdicom as hd

    coordinates = [_line(row, template)] if row.is_line else None
    for column, quantity in (LINE if row.is_line else KINETICS).items():
        if not row.cells[column]:
            continue  # not defined, such as in a series that ends early
        yield hd.sr.Measurement(
            _concept(quantity.code, quantity.meaning, quantity.scheme),
            row.number(column),
            _concept(quantity.unit, UNITS[quantity.unit], "UCUM"),
            derivation=quantity.derivation and _concept(*quantity.derivation, "SCT"),
            referenced_coordinates=coordinates,
        )


def _evaluations(row: MeasuredRow) -> Iterator[Any]:
    import highdicom as hd

    series = row.choice("series", SERIES)
    yield hd.sr.QualitativeEvaluation(_concept("MEASURED_ON", "Measured on"), _concept(*series))
    if not row.is_line and row.cells["type"]:
        kind = row.choice("type", TYPES)
        yield hd.sr.QualitativeEvaluation(
            _concept("CURVE_TYPE", "Type of the kinetic curve"), _concept(*kind, "DCM")
        )


def _line(row: MeasuredRow, template: Template) -> Any:
    """Return the line's ends in the patient. Raises RequestError for one beside the template."""
    import highdicom as hd

    start, end = (
        [row.number(column) for column in columns]
        for columns in (profile_rows.FROM, profile_rows.TO)
    )
    try:
        line_profile(template.volume, start, end, 2)
    except RequestError as error:
        raise RequestError(f"{row.where}: {error}") from None
    return hd.sr.CoordinatesForMeasurement3D(
        "POLYLINE",
        np.array([start, end]) * (-1.0, -1.0, 1.0),  # from RAS to LPS
        template.header.value("FrameOfReferenceUID"),
    )


def _concept(code: str, meaning: str, scheme: str = SCHEME) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(code, scheme, meaning)
