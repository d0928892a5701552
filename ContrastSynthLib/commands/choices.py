"""The choices of the command line's options, taken from the tables of the library.

Most of these tables lie in modules that take a third of a second to import. A table is therefore
imported when its choices are needed, to check a value or to print the help, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator


class Choices:
    """What argparse takes as ``choices``: the keys that a function returns, called when needed."""

    def __init__(self, table: Callable[[], Collection[str]]) -> None:
        self._table = table

    def __contains__(self, value: object) -> bool:
        return value in self._table()

    def __iter__(self) -> Iterator[str]:
        return iter(self._table())


@Choices
def alignments() -> Collection[str]:
    """How volumes are brought onto one grid."""
    from ContrastSynthLib.preprocessing.alignment import MODES

    return MODES


@Choices
def normalisations() -> Collection[str]:
    """How intensities are normalised before two volumes are compared."""
    from ContrastSynthLib.analysis.evaluation import NORMALISATIONS

    return NORMALISATIONS


@Choices
def uptake_conventions() -> Collection[str]:
    """How pre and post are normalised before they are subtracted."""
    from ContrastSynthLib.analysis.uptake import CONVENTIONS

    return CONVENTIONS


@Choices
def reference_levels() -> Collection[str]:
    """The intensity that an uptake threshold is a fraction of."""
    from ContrastSynthLib.analysis.uptake import REFERENCE_LEVELS

    return REFERENCE_LEVELS


@Choices
def patient_kinds() -> Collection[str]:
    """The ranges from which a virtual brain is drawn."""
    from ContrastSynthLib.phantom.brain.parameters import KINDS

    return KINDS


@Choices
def artefacts() -> Collection[str]:
    """The artefacts that a virtual pre-contrast scan can have."""
    from ContrastSynthLib.phantom.brain.parameters import CORRUPTION

    return CORRUPTION
