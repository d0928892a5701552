"""A measured figure beside a reference that was measured in the same run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """Two measurements in the same unit; ``limit`` is the ratio above which we look into it."""

    title: str
    measured: float
    reference_title: str
    reference: float
    unit: str
    limit: float

    def __str__(self) -> str:
        ratio = self.measured / self.reference
        remark = "" if ratio <= self.limit else f"  ABOVE {self.limit:g}"
        return (
            f"{self.title}: {self.measured:.3f} {self.unit} = {ratio:.2f} x "
            f"{self.reference_title} ({self.reference:.3f} {self.unit}){remark}"
        )
