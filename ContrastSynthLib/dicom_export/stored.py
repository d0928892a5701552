"""Intensities as the whole numbers that a file stores, on the template's own scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.dicom_export.marks import code
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.files.dicom.datasets import dataset_of
from ContrastSynthLib.volumes import FloatArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LEAST_LEVELS = 200
"""Fewer whole numbers than that would be seen as steps."""
OWN_LEVELS = 4095
BRIGHTEST_PERCENT = 99.9


@dataclass(frozen=True)
class Stored:
    """Whole numbers (k, j, i), and value = slope * number + intercept."""

    numbers: NDArray[np.int32]
    slope: float
    intercept: float
    centre: float
    width: float

    @classmethod
    def of(cls, values: FloatArray, template: Template) -> Stored:
        """Return values (k, j, i) in the template's units as numbers of 16 bits.

        The scale is the template's, so that both look alike in a viewer; one of its own where that
        has too few steps for the values, or too few bits. The window is the template's, or reaches
        to the 99.9th percentile of the template where that has none.
        """
        slope = template.header.number("RescaleSlope") or 1.0
        intercept = template.header.number("RescaleIntercept") or 0.0
        low, high = float(values.min()), float(values.max())
        limits = np.iinfo(np.int16)
        largest = max(abs(low - intercept), abs(high - intercept)) / slope
        if not LEAST_LEVELS <= largest <= limits.max:
            slope, intercept = max(high, -low, 1e-12) / OWN_LEVELS, 0.0
        numbers = np.rint((values - intercept) / slope).astype(np.int32)
        return cls(numbers, slope, intercept, *_window(template))

    def describe(self, dataset: Dataset) -> None:
        """Set size, kind of number, scale and window of an image."""
        _, dataset.Rows, dataset.Columns = self.numbers.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1

    def words(self, k: int) -> bytes:
        """Return the pixels of slice k."""
        words: bytes = self.numbers[k].astype("<i2").tobytes()
        return words

    @property
    def is_scaled(self) -> bool:
        """Whether the numbers are not the values themselves."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    def real_world(self) -> Dataset:
        """Return the item that maps numbers to values in arbitrary units."""
        return dataset_of(
            LUTExplanation="Signal intensity, arbitrary units",
            LUTLabel="SIGNAL",
            MeasurementUnitsCodeSequence=[code("1", "UCUM", "no units")],
            RealWorldValueFirstValueMapped=int(self.numbers.min()),
            RealWorldValueLastValueMapped=int(self.numbers.max()),
            RealWorldValueSlope=float(self.slope),
            RealWorldValueIntercept=float(self.intercept),
        )


def _window(template: Template) -> tuple[float, float]:
    centre = _first(template.header.value("WindowCenter"))
    width = _first(template.header.value("WindowWidth"))
    if centre is not None and width is not None and width >= 1:
        return centre, width
    values = template.volume.array
    positive = values[values > 0]
    top = float(np.percentile(positive, BRIGHTEST_PERCENT)) if positive.size else 1.0
    return top / 2, max(top, 1.0)


def _first(value: Any) -> float | None:
    """Return the first of one or several numbers."""
    if value in (None, ""):
        return None
    several = value if isinstance(value, list | tuple) or hasattr(value, "__iter__") else [value]
    return float(next(iter(several)))
