"""All patients of a batch at a glance: a table, and one page to skim for what went wrong."""

from ContrastSynthLib.cohort.gathering import Cohort, gather
from ContrastSynthLib.cohort.report import PAGE, TABLE, write_cohort

__all__ = ["PAGE", "TABLE", "Cohort", "gather", "write_cohort"]
