"""From scores to what a study says: means, non-inferiority, agreement; by SPHERE, appendix D.

Differences are new - standard, of the same case and reader. They are tested

    of each reader      the pairs are his cases
    pooled              all pairs of all readers, as in the paper: those of one case are not
                        independent, so that its p value is too small where readers agree
    by case             the mean over the readers of each case: what can be published
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.reader_study.agreement import intraclass_correlation, quadratic_kappa
from ContrastSynthLib.reader_study.blinding import Key
from ContrastSynthLib.reader_study.deviations import deviations, remarks
from ContrastSynthLib.reader_study.non_inferiority import LEAST_PAIRS, holm, non_inferiority
from ContrastSynthLib.reader_study.power import TOLERATED, Differences, rejection_rate
from ContrastSynthLib.reader_study.protocol import ARMS, NEW, SCORES, STANDARD, Criterion, Protocol
from ContrastSynthLib.reader_study.result import (
    BY_CASE,
    POOLED,
    Agreed,
    ArmSummary,
    Chosen,
    OrderEffect,
    StudyResult,
    Tested,
)
from ContrastSynthLib.reader_study.scored import (
    Scored,
    first_read,
    first_values,
    paired,
    read_again,
    read_by_both,
    unblinded,
)
from ContrastSynthLib.reader_study.store import Store

POOLED_WARNING = (
    "The pooled test takes the scores of several readers for one case as independent. They are "
    "not: where readers agree its p value is too small. Report the test by case."
)
WILCOXON_WARNING = (
    "The signed-rank test is about the median of symmetric differences. With scores of few steps "
    "it can reject far more often than alpha when the new arm is worse by just the margin: where "
    "most pairs are equal and a few are worse by a point. Report a test of the mean beside it."
)
ERROR_WARNING = (
    "{title}: with {cases} cases and scores like these, better in {better:.0%} of the pairs, some "
    "tests by case reject too often when the new arm is worse by just the margin: {rates} of such "
    "studies, not {alpha:.0%}. More cases help, or a scale with more steps."
)


def analyse(key: Key, store: Store) -> StudyResult:
    """Return what the scores of a study say.

    Raises RequestError for a store of another study, and for one without scores.
    """
    if store.about.protocol_sha256 != key.protocol.sha256():
        raise RequestError(
            f"{store.where}: the scores are of another study, or the protocol was changed after it "
            "was made."
        )
    scores = unblinded(key, store)
    if not scores:
        raise RequestError(f"{store.where}: nothing is scored yet.")
    expected = sum(len(store.readings(reader)) for reader in store.readers)
    done = {(score.reader, score.number) for score in scores}
    alone = key.protocol.mode == SCORES
    tests = _tests(key.protocol, scores) if alone else []
    warnings = []
    if len(done) < expected:
        warnings.append(f"{expected - len(done)} of {expected} readings are not scored yet.")
    if any(each.unit == POOLED for each in tests):
        warnings.append(POOLED_WARNING)
    if any(each.result.test == "wilcoxon" for each in tests):
        warnings.append(WILCOXON_WARNING)
    if alone:
        warnings += _errors(key.protocol, scores)
    return StudyResult(
        key.protocol,
        tuple(scores),
        tuple(_arms(key.protocol.criteria, scores)),
        tuple(tests),
        tuple(_agreement(key.protocol, scores)) if alone else (),
        () if alone else tuple(_chosen(key.protocol, scores)),
        tuple(_order(key.protocol, scores)) if alone else (),
        expected - len(done),
        tuple(deviations(key, store)),
        tuple(remarks(key, store)),
        tuple(sorted(set(key.marks_of(NEW).values()))),
        tuple(warnings),
    )


def _arms(criteria: Sequence[Criterion], scores: Sequence[Scored]) -> list[ArmSummary]:
    found = []
    for criterion in criteria:
        for arm in ARMS:
            values = np.array(
                [
                    score.value
                    for score in scores
                    if (score.criterion, score.arm, score.again) == (criterion.key, arm, False)
                ]
            )
            if not values.size:
                continue
            deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            given = tuple(int((values == score).sum()) for score in criterion.scale)
            found.append(
                ArmSummary(criterion.key, arm, len(values), float(values.mean()), deviation, given)
            )
    return found


def _tests(protocol: Protocol, scores: Sequence[Scored]) -> list[Tested]:
    analysis, found = protocol.analysis, []
    for criterion in protocol.criteria:
        for unit, pairs in _units(protocol, scores, criterion.key).items():
            if len(pairs) < LEAST_PAIRS:
                continue
            new, standard = np.transpose(pairs)
            for test in analysis.tests:
                result = non_inferiority(
                    new, standard, analysis.margin, alpha=analysis.alpha, test=test
                )
                found.append(Tested(criterion.key, unit, result))
    return _adjusted(found, analysis.tests[0])


def _units(
    protocol: Protocol, scores: Sequence[Scored], criterion: str
) -> dict[str, list[tuple[float, float]]]:
    """Return the pairs of each reader, of all, and the means over readers of each case."""
    of_readers = {reader: paired(scores, criterion, reader) for reader in protocol.readers}
    units = {reader: [*pairs.values()] for reader, pairs in of_readers.items()}
    if len(protocol.readers) > 1:
        units[POOLED] = [pair for pairs in of_readers.values() for pair in pairs.values()]
    by_case: dict[str, list[tuple[float, float]]] = {}
    for pairs in of_readers.values():
        for case, pair in pairs.items():
            by_case.setdefault(case, []).append(pair)
    units[BY_CASE] = [
        (float(np.mean([a for a, _ in several])), float(np.mean([b for _, b in several])))
        for several in by_case.values()
    ]
    return units


def _errors(protocol: Protocol, scores: Sequence[Scored]) -> list[str]:
    """Return a warning for each criterion where a test of the protocol does not keep its level.

    Studies are drawn at the margin, with as many cases and readers, and as often better pairs.
    """
    found = []
    analysis, readers = protocol.analysis, len(protocol.readers)
    for criterion in protocol.criteria:
        pairs = [
            pair
            for reader in protocol.readers
            for pair in paired(scores, criterion.key, reader).values()
        ]
        cases = len(_units(protocol, scores, criterion.key)[BY_CASE])
        if cases < LEAST_PAIRS:
            continue
        better = round(float(np.mean([new > standard for new, standard in pairs])), 2)
        drawn = (better, cases, readers, analysis.margin, analysis.alpha)
        rates = {test: _error(test, *drawn) for test in analysis.tests}
        told = [
            f"{test} in {rate:.0%}"
            for test, rate in rates.items()
            if rate > analysis.alpha * TOLERATED / 0.05
        ]
        if told:
            numbers = {"cases": cases, "better": better, "alpha": analysis.alpha}
            found.append(
                ERROR_WARNING.format(title=criterion.title, rates=", ".join(told), **numbers)
            )
    return found


@cache
def _error(
    test: str, better: float, cases: int, readers: int, margin: float, alpha: float
) -> float:
    """Return how often a test rejects at the margin; 0 where no such scores can be."""
    if 2 * better + margin > 1:
        return 0.0
    at_margin = Differences.of_mean(-margin, better)
    return rejection_rate(test, at_margin, cases=cases, readers=readers, margin=margin, alpha=alpha)


def _adjusted(tests: Sequence[Tested], primary: str) -> list[Tested]:
    """Return the tests, the primary ones by case with p values adjusted over the criteria."""
    places = [
        place
        for place, each in enumerate(tests)
        if each.unit == BY_CASE and each.result.test == primary
    ]
    found = list(tests)
    if not places:
        return found
    adjusted = holm([tests[place].result.p_value for place in places])
    for place, p_value in zip(places, adjusted.tolist(), strict=True):
        found[place] = replace(tests[place], adjusted=p_value)
    return found


def _order(protocol: Protocol, scores: Sequence[Scored]) -> list[OrderEffect]:
    found = []
    for criterion in protocol.criteria:
        differences: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for reader in protocol.readers:
            pairs = paired(scores, criterion.key, reader)
            for case, arm in first_read(scores, criterion.key, reader).items():
                new, standard = pairs[case]
                differences[arm].append(new - standard)
        first, second = differences[NEW], differences[STANDARD]
        if min(len(first), len(second)) < LEAST_PAIRS:
            continue
        p_value = float(stats.mannwhitneyu(first, second).pvalue)
        means = (float(np.mean(first)), float(np.mean(second)))
        found.append(OrderEffect(criterion.key, *means, (len(first), len(second)), p_value))
    return found


def _chosen(protocol: Protocol, scores: Sequence[Scored]) -> list[Chosen]:
    first = [score for score in scores if not score.again]
    found = []
    for who in (*protocol.readers, *([POOLED] if len(protocol.readers) > 1 else [])):
        arms = [score.arm for score in first if who in (POOLED, score.reader)]
        if arms:
            count = arms.count(NEW)
            exact = stats.binomtest(count, len(arms), 0.5)
            low, high = exact.proportion_ci(method="exact")
            shares = (count / len(arms), float(low), float(high), float(exact.pvalue))
            found.append(Chosen(who, count, len(arms), *shares))
    return found


def _agreement(protocol: Protocol, scores: Sequence[Scored]) -> list[Agreed]:
    found = []
    for criterion in protocol.criteria:
        for one, other in combinations(protocol.readers, 2):
            pairs = read_by_both(scores, criterion.key, one, other)
            found += _kappa(criterion, f"{one}, {other}", pairs)
        for reader in protocol.readers:
            pairs = read_again(scores, criterion.key, reader)
            found += _kappa(criterion, f"{reader}, read again", pairs)
        found += _icc(criterion, protocol.readers, first_values(scores, criterion.key))
    return found


def _kappa(criterion: Criterion, who: str, pairs: Sequence[tuple[int, int]]) -> list[Agreed]:
    if len(pairs) < 2:
        return []
    first, second = np.transpose(pairs)
    kappa = quadratic_kappa(first, second, criterion.scale)
    return [Agreed(criterion.key, "kappa, quadratic weights", who, len(pairs), kappa)]


def _icc(
    criterion: Criterion,
    readers: Sequence[str],
    values: Mapping[tuple[str, str, str], int],
) -> list[Agreed]:
    images = sorted({(case, arm) for _, case, arm in values})
    table: NDArray[np.float64] = np.array(
        [[values.get((reader, *image), np.nan) for reader in readers] for image in images]
    )
    complete = int(np.isfinite(table).all(axis=1).sum()) if table.size else 0
    if len(readers) < 2 or complete < 5:
        return []
    measures = intraclass_correlation(table)
    return [
        Agreed(criterion.key, name, "all readers", complete, each)
        for name, each in measures.items()
    ]
