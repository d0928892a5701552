"""What is told of one case: a row of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SCHEMA_VERSION = 1
DONE = "done"
FAILED = "failed"
DAMAGED = "damaged"
"""The batch says that it is done, but its folder does not hold what the run wrote."""
STATUSES = (DONE, FAILED, DAMAGED)


@dataclass(frozen=True)
class Row:
    """A case: what became of it, what was measured in its result, and how unusual it is.

    ``reason`` says why it failed or is damaged, without paths. ``seconds`` and ``memory_mb`` are
    those of the run, ``change_percent`` the mean of the absolute change from the scan that the
    result imitates, as a share of that scan's mean. A number that is not known is None.
    """

    case: str
    status: str
    reason: str = ""
    method: str = ""
    seconds: float | None = None
    memory_mb: float | None = None
    uptake_ml: float | None = None
    change_percent: float | None = None
    brain_ml: float | None = None
    warnings: int | None = None
    outlier: float | None = None
    outlier_because: str = ""

    def as_cells(self) -> dict[str, Any]:
        """Return the row of the table, with the version of its columns."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Row:
        """Return a row that was kept as JSON; raises ValueError for anything else."""
        if set(told) != {field.name for field in fields(cls)}:
            raise ValueError("These are not the columns of a row.")
        texts = {"case", "status", "reason", "method", "outlier_because"}
        for name, value in told.items():
            number = value is None or (isinstance(value, int | float) and value == value)
            if not (isinstance(value, str) if name in texts else number):
                raise ValueError(f"'{name}' is not of its kind.")
        return cls(**told)


COLUMNS = ("schema_version", *(field.name for field in fields(Row)))
