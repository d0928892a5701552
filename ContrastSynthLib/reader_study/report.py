"""The report of a reader study: a page in one file, and the scores as CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from string import Template

from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.writing import write_text
from ContrastSynthLib.plots.html import html_picture, html_table
from ContrastSynthLib.reader_study.agreement import Agreement
from ContrastSynthLib.reader_study.claim import claim_items
from ContrastSynthLib.reader_study.exports import imrmc, mrmcaov
from ContrastSynthLib.reader_study.plots import (
    MOST_ROWS,
    TITLES,
    agreement_plot,
    compared_readings,
    likert_bars,
)
from ContrastSynthLib.reader_study.protocol import SCORES, WHICH_IS_REAL
from ContrastSynthLib.reader_study.result import BY_CASE, StudyResult, Tested
from ContrastSynthLib.reader_study.scored import Scored
from ContrastSynthLib.resources import resource
from ContrastSynthLib.running.provenance import software


def write_report(result: StudyResult, folder: Path) -> list[Path]:
    """Write ``report.html``, ``scores.csv``, ``mrmcaov.csv`` and ``summary.json``.

    For cases whose truth is known also ``<criterion>.imrmc``. Returns the paths. Raises
    RequestError when they cannot be written, MissingError without matplotlib.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Callable[[StudyResult], str]] = {
        "report.html": page,
        "scores.csv": scores_as_csv,
        "mrmcaov.csv": mrmcaov,
        "summary.json": lambda found: json.dumps(_finite(found.as_dict()), indent=2) + "\n",
    }
    if {case.truth for case in result.protocol.cases} == {0, 1}:
        for criterion in result.protocol.criteria:
            files[f"{criterion.key}.imrmc"] = partial(imrmc, criterion=criterion.key)
    for name, made in files.items():
        write_text(folder / name, made(result))
    return [folder / name for name in files]


def scores_as_csv(result: StudyResult) -> str:
    """Return a row for each score: reader, case, arm, criterion, value, and when it was read."""
    columns = [field.name for field in fields(Scored)]
    return rows_as_csv([asdict(score) for score in result.scores], columns)


def page(result: StudyResult) -> str:
    """Return the page: means, distributions, non-inferiority, agreement, protocol."""
    protocol = result.protocol
    titles = {criterion.key: criterion.title for criterion in protocol.criteria}
    parts = [f"<p class='notice'>{escape(warning)}</p>" for warning in result.warnings]
    parts += _of_scores(result, titles) if protocol.mode == SCORES else _of_choices(result)
    parts += ["<h2>Time</h2>", _table_of_times(result.scores), *_deviations(result)]
    parts += ["<h2>Checklist</h2>", *_checklist(result)]
    template = Template(resource("StudyReport.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(protocol.title),
        cases=len(protocol.cases),
        readers=escape(", ".join(protocol.readers)),
        when=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        body="\n".join(parts),
        sha256=protocol.sha256(),
        protocol=escape(protocol.as_json()),
        software=escape(json.dumps(software(), indent=2)),
    )


def _of_scores(result: StudyResult, titles: dict[str, str]) -> list[str]:
    analysis = result.protocol.analysis
    return [
        *("<h2>Scores</h2>", _table_of_arms(result, titles)),
        html_picture(likert_bars(result), alt="How often each score was given"),
        "<h2>Non-inferiority</h2>",
        f"<p>Null hypothesis: the new arm is worse by {analysis.margin:g} points or more; alpha "
        f"{analysis.alpha:g}, one-sided. The primary test is <em>{analysis.tests[0]}</em>, "
        f"{BY_CASE}, with p values adjusted over the criteria (Holm).</p>",
        _table_of_tests([one for one in result.tests if one.adjusted is not None], titles),
        "<details><summary>All tests: of each reader, pooled and by case</summary>",
        *(_table_of_tests(result.tests, titles), "</details>", "<h2>Agreement</h2>"),
        *(_table_of_agreement(result, titles), *_picture_of_agreement(result)),
        *("<h2>Order</h2>", _table_of_order(result, titles)),
    ]


def _picture_of_agreement(result: StudyResult) -> list[str]:
    figure = agreement_plot(result)
    if figure is None:
        return []
    told = "Images by the scores that they got in two readings; on the line both are the same."
    rows = len(compared_readings(result))
    if rows > MOST_ROWS:
        told += f" The first {MOST_ROWS} of {rows} comparisons."
    return [html_picture(figure, alt="Scores of two readings"), f"<p class='soft'>{told}</p>"]


def _of_choices(result: StudyResult) -> list[str]:
    asked = "taken for the real one" if result.protocol.mode == WHICH_IS_REAL else "preferred"
    rows = [
        [
            *(each.who, f"{each.count} of {each.of}"),
            f"{each.share:.0%} [{each.low:.0%}, {each.high:.0%}]",
            _p(each.p_value),
        ]
        for each in result.chosen
    ]
    heads = ["reader", f"new arm {asked}", "share [95 %, exact]", "p against one half"]
    return ["<h2>Choices</h2>", html_table(heads, rows)]


def _table_of_arms(result: StudyResult, titles: dict[str, str]) -> str:
    rows = []
    for key, title in titles.items():
        found = {arm.arm: arm for arm in result.arms if arm.criterion == key}
        if found:
            cells = [
                f"{found[arm].mean:.2f} \N{PLUS-MINUS SIGN} {found[arm].deviation:.2f}"
                f" ({found[arm].count})"
                if arm in found
                else ""
                for arm in TITLES
            ]
            rows.append([title, *cells])
    heads = ["mean \N{PLUS-MINUS SIGN} standard deviation (readings)", *TITLES.values()]
    return html_table(heads, rows)


def _table_of_tests(tests: Sequence[Tested], titles: dict[str, str]) -> str:
    heads = ["criterion", "unit", "test", "pairs", "difference", "lower end", "p"]
    heads += ["p, Holm", "not inferior", "zeros, ties", "how"]
    rows = []
    for each in tests:
        found = each.result
        rows.append(
            [
                *(titles[each.criterion], each.unit, found.test, str(found.pairs)),
                f"{found.difference:+.3f}",
                "" if found.lower is None else f"{found.lower:+.3f}",
                _p(found.p_value),
                "" if each.adjusted is None else _p(each.adjusted),
                "yes" if found.non_inferior else "not shown",
                f"{found.zeros}, {found.ties}",
                found.how,
            ]
        )
    return html_table(heads, rows)


def _table_of_agreement(result: StudyResult, titles: dict[str, str]) -> str:
    heads = ["criterion", "measure", "who", "readings", "value [95 % interval]"]
    rows = [
        [titles[a.criterion], a.measure, a.who, str(a.count), _agreed(a.agreement)]
        for a in result.agreement
    ]
    return html_table(heads, rows)


def _table_of_order(result: StudyResult, titles: dict[str, str]) -> str:
    heads = ["difference new - standard", "new read first", "new read second", "p"]
    rows = [
        [
            titles[each.criterion],
            f"{each.new_first:+.2f} ({each.pairs[0]})",
            f"{each.new_second:+.2f} ({each.pairs[1]})",
            _p(each.p_value),
        ]
        for each in result.order
    ]
    return html_table(heads, rows)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _agreed(found: Agreement) -> str:
    if math.isnan(found.value):
        return "not defined: the scores are all equal"
    if math.isnan(found.low) or math.isnan(found.high):
        return f"{found.value:.2f}, its interval is not defined"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _table_of_times(scores: Sequence[Scored]) -> str:
    """Return how long readers looked at a reading, idle time left out."""
    seconds: dict[str, dict[int, float]] = {}
    for score in scores:
        seconds.setdefault(score.reader, {})[score.number] = score.seconds
    rows = []
    for reader, times in sorted(seconds.items()):
        ordered = sorted(times.values())
        median = ordered[len(ordered) // 2]
        rows.append([reader, str(len(times)), f"{median:.0f}", f"{sum(ordered) / 60:.1f}"])
    return html_table(["reader", "readings", "median, s", "in all, min"], rows)


def _deviations(result: StudyResult) -> list[str]:
    """Return what did not go as the protocol has it, and what readers remarked."""
    parts = ["<h2>Deviations from the protocol</h2>"]
    if result.deviations:
        heads = ["what", "reader", "how many", "which readings"]
        rows = [[one.what, one.reader, str(one.count), one.which] for one in result.deviations]
        parts.append(_of_texts(heads, rows))
    else:
        parts.append("<p>None was found.</p>")
    if result.remarks:
        heads = ["remark", "reader", "reading", "case", "arm", "when, UTC"]
        rows = [
            [
                *(one.text or one.kind, one.reader, str(one.number), one.case, one.arm),
                one.when_utc[:16].replace("T", " "),
            ]
            for one in result.remarks
        ]
        parts += ["<h2>Comments and flags</h2>", _of_texts(heads, rows)]
    return parts


def _checklist(result: StudyResult) -> list[str]:
    rows = [[str(number), what, told] for number, what, told in claim_items(result)]
    return [
        "<p>Items of CLAIM (Mongan, Moy and Kahn 2020) that this study's records answer; the "
        "others of its 42 are yours.</p>",
        _of_texts(["item", "subject", "reported"], rows),
    ]


def _of_texts(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose cells are texts rather than numbers."""
    return f"<div class='texts'>{html_table(heads, rows)}</div>"


def _finite(told: object) -> object:
    """Return what JSON can hold: None for a number that is not defined."""
    if isinstance(told, float):
        return told if math.isfinite(told) else None
    if isinstance(told, dict):
        return {key: _finite(value) for key, value in told.items()}
    if isinstance(told, (list, tuple)):
        return [_finite(value) for value in told]
    return told
