"""What a study's own records answer of CLAIM, the checklist for AI in medical imaging.

Mongan, Moy and Kahn, Radiol Artif Intell 2020;2(2):e200029. Only those of its 42 items of which the
tool knows something; the others are for the authors.
"""

from __future__ import annotations

from ContrastSynthLib import __version__
from ContrastSynthLib.reader_study.protocol import PREFERENCE, SCORES, Protocol
from ContrastSynthLib.reader_study.result import BY_CASE, StudyResult

Item = tuple[int, str, str]
"""Number and subject of an item, and what is reported."""


def claim_items(result: StudyResult) -> list[Item]:
    """Return the items that the study answers, in the order of the checklist."""
    protocol = result.protocol
    readings = len({(score.reader, score.number) for score in result.scores})
    return [
        (4, "Objectives and hypotheses", _hypothesis(protocol)),
        (6, "Goal of the study", "Comparison of two arms by blinded readers."),
        (
            9,
            "Preprocessing of the images",
            "Each image was scaled by its 99.9th percentile to whole numbers up to about 1000 and "
            "shown in one window; nothing else was changed.",
        ),
        (
            12,
            "De-identification",
            "Readers got images under random names, without metadata, as files of one date. Faces "
            "are not removed by the tool.",
        ),
        (
            13,
            "Missing data",
            f"{result.missing} of {readings + result.missing} readings were not scored. A case "
            "enters a comparison when both of its scores are there; none is filled in.",
        ),
        (
            16,
            "Readers",
            f"{len(protocol.readers)}: {', '.join(protocol.readers)}. Their experience is yours to "
            "tell.",
        ),
        (17, "Tool of the readers", f"ContrastSynth {__version__}; each reader's own order."),
        (18, "Variability between and within readers", _variability(result)),
        (
            19,
            "Sample size",
            f"{len(protocol.cases)} cases. How it was chosen is yours to tell; the command study "
            "power simulates it.",
        ),
        (22, "Model", _model(result)),
        (23, "Software", "Versions are listed at the end of this page."),
        (29, "Statistics", _statistics(protocol)),
        (
            33,
            "Flow of cases",
            f"{len(protocol.cases)} cases entered, {len({s.case for s in result.scores})} were "
            f"read, in {readings} readings. Cases left out before that are yours to tell.",
        ),
        (
            41,
            "Protocol",
            f"Fixed before the first score, SHA-256 {protocol.sha256()}, whole on this page.",
        ),
    ]


def _hypothesis(protocol: Protocol) -> str:
    if protocol.mode != SCORES:
        asked = "preferred" if protocol.mode == PREFERENCE else "taken for the real one"
        return f"Of two images of a case, the new one is {asked} as often as the standard one."
    return (
        f"Non-inferiority: the mean score of the new arm is less than {protocol.analysis.margin:g} "
        "points below that of the standard arm, for each criterion."
    )


def _variability(result: StudyResult) -> str:
    if not result.agreement:
        return "Not measured: it takes two readers, or images that are read twice."
    again = result.protocol.repeats
    return (
        "Kappa with quadratic weights and ICC(2,1), ICC(2,k), with intervals, in the section "
        f"Agreement; {again} images were read twice by each reader."
    )


def _model(result: StudyResult) -> str:
    if not result.made_by:
        return "Images of the new arm carry no mark of what made them: this is yours to tell."
    return "Images of the new arm: " + "; ".join(result.made_by)


def _statistics(protocol: Protocol) -> str:
    if protocol.mode != SCORES:
        return "Exact binomial test against one half, intervals of Clopper and Pearson."
    analysis = protocol.analysis
    return (
        f"One-sided {analysis.tests[0]} test {BY_CASE}, alpha {analysis.alpha:g}, adjusted over "
        f"the criteria (Holm); beside it: {', '.join(analysis.tests[1:]) or 'none'}."
    )
