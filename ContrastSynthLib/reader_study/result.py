"""What a reader study says: the records that its analysis makes and its report tells."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ContrastSynthLib.reader_study.agreement import Agreement
from ContrastSynthLib.reader_study.deviations import Deviation, Remark
from ContrastSynthLib.reader_study.non_inferiority import NonInferiority
from ContrastSynthLib.reader_study.protocol import Protocol
from ContrastSynthLib.reader_study.scored import Scored

POOLED, BY_CASE = "pooled", "by case"


@dataclass(frozen=True)
class ArmSummary:
    """Scores of one arm and criterion: ``count`` readings, mean and standard deviation, and how
    often each score of the scale was given."""

    criterion: str
    arm: str
    count: int
    mean: float
    deviation: float
    given: tuple[int, ...]


@dataclass(frozen=True)
class Tested:
    """A test of one criterion over a unit: a reader, POOLED or BY_CASE. ``adjusted`` is the p value
    after Holm over the criteria, of the protocol's primary test by case alone."""

    criterion: str
    unit: str
    result: NonInferiority
    adjusted: float | None = None


@dataclass(frozen=True)
class Agreed:
    """Agreement about one criterion: between two readers, of a reader with himself, or of all."""

    criterion: str
    measure: str
    who: str
    count: int
    agreement: Agreement


@dataclass(frozen=True)
class Chosen:
    """How often the new arm was chosen of two images: as the real one, or as the better one.

    ``who`` is a reader or POOLED; the interval of 95 % and the two-sided p value against one half
    are exact (Clopper and Pearson 1934).
    """

    who: str
    count: int
    of: int
    share: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class OrderEffect:
    """Mean difference new - standard of a criterion where the new image was read first, and where
    second, over readers and cases, and the two-sided p value of Mann and Whitney's test."""

    criterion: str
    new_first: float
    new_second: float
    pairs: tuple[int, int]
    p_value: float


@dataclass(frozen=True)
class StudyResult:
    """What a study says. ``missing`` counts the readings that are not scored; ``made_by`` are the
    SYNTHETIC marks of the new arm's images."""

    protocol: Protocol
    scores: tuple[Scored, ...]
    arms: tuple[ArmSummary, ...]
    tests: tuple[Tested, ...]
    agreement: tuple[Agreed, ...]
    chosen: tuple[Chosen, ...]
    order: tuple[OrderEffect, ...]
    missing: int
    deviations: tuple[Deviation, ...]
    remarks: tuple[Remark, ...]
    made_by: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the single scores, JSON-able."""
        return {
            "schema_version": 1,
            "title": self.protocol.title,
            "protocol_sha256": self.protocol.sha256(),
            "missing": self.missing,
            "arms": [asdict(arm) for arm in self.arms],
            "tests": [
                {
                    **{"criterion": each.criterion, "unit": each.unit},
                    **asdict(each.result),
                    **{"non_inferior": each.result.non_inferior, "adjusted_p": each.adjusted},
                }
                for each in self.tests
            ],
            "agreement": [asdict(each) for each in self.agreement],
            "chosen": [asdict(each) for each in self.chosen],
            "order": [asdict(each) for each in self.order],
            "deviations": [asdict(each) for each in self.deviations],
            "remarks": [asdict(each) for each in self.remarks],
            "made_by": [*self.made_by],
            "warnings": [*self.warnings],
        }
