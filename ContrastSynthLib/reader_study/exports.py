"""Scores in the forms that programs for multi-reader multi-case studies read: iMRMC, MRMCaov."""

from __future__ import annotations

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.reader_study.protocol import ARMS
from ContrastSynthLib.reader_study.result import StudyResult

MRMCAOV_COLUMNS = ("reader", "treatment", "case", "truth", "rating", "criterion")
TRUTH = "-1"
"""The reader of the rows that tell the truth, in iMRMC."""


def mrmcaov(result: StudyResult) -> str:
    """Return a CSV table for MRMCaov in R: a row for each score, images read again left out.

    ``truth`` is 1 or 0 as in the table of cases, and empty where that has none: measures against a
    truth, such as the ROC curve, need it.
    """
    truths = {case.name: case.truth for case in result.protocol.cases}
    rows = [
        (score.reader, score.arm, score.case, truths[score.case], score.value, score.criterion)
        for score in result.scores
        if not score.again
    ]
    told = [dict(zip(MRMCAOV_COLUMNS, row, strict=True)) for row in rows]
    return rows_as_csv(told, MRMCAOV_COLUMNS)


def imrmc(result: StudyResult, criterion: str) -> str:
    """Return the input file of iMRMC for one criterion; cases are numbered from 1.

    Raises RequestError where a case has no truth, which iMRMC needs, and where all have the same.
    """
    cases = {case.name: number for number, case in enumerate(result.protocol.cases, start=1)}
    truths = {case.name: case.truth for case in result.protocol.cases}
    without = [name for name, truth in truths.items() if truth is None]
    if without or len(set(truths.values())) < 2:
        raise RequestError(
            "iMRMC compares scores with the truth of each case, 1 with and 0 without a lesion; "
            "there must be both: give the column 'truth' in the table of cases."
        )
    scores = [s for s in result.scores if s.criterion == criterion and not s.again]
    rows = [f"{TRUTH},{number},0,{truths[name]}" for name, number in cases.items()]
    rows += [f"{s.reader.replace(',', ' ')},{cases[s.case]},{s.arm},{s.value}" for s in scores]
    head = [
        f"{result.protocol.title}: {criterion}",
        *(f"case {number}: {name}" for name, number in cases.items()),
        f"N0: {sum(truth == 0 for truth in truths.values())}",
        f"N1: {sum(truth == 1 for truth in truths.values())}",
        f"NR: {len(result.protocol.readers)}",
        f"NM: {len(ARMS)}",
        "BEGIN DATA:",
    ]
    return "\n".join([*head, *rows]) + "\n"
