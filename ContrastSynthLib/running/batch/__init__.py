"""The same run for a table of patients: resumable, with a record of what happened to each."""

from ContrastSynthLib.running.batch.record import LOG, RECORD, read_record
from ContrastSynthLib.running.batch.run_table import Counts, run_batch
from ContrastSynthLib.running.batch.table import CASE, case_inputs, read_cases

__all__ = [
    "CASE",
    "LOG",
    "RECORD",
    "Counts",
    "case_inputs",
    "read_cases",
    "read_record",
    "run_batch",
]
