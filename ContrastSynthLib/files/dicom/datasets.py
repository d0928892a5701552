"""Datasets made of values by keyword."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def dataset_of(**values: Any) -> Dataset:
    """Return a dataset of attributes by keyword, such as an item of a sequence, or a query."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
