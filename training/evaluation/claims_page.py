"""docs/papers.md: the claims of the papers as one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ContrastSynthLib.errors import RequestError
from evaluation.claims import (
    MEASURES,
    PAPERS,
    VERDICTS,
    Claim,
    Figure,
    Paper,
    Reading,
    incomplete,
    read_paper,
)
from evaluation.measurements import FOLDER, Measurement, measurements

PAGE = FOLDER.with_suffix(".md")
HEAD = """\
<!-- Made by "python training/papers.py" from docs/papers. Do not edit. -->

# What the papers claim

Each claim of the results of the five papers: where it stands, the paper's figures, ours, and the
command that measures ours. **The figures cannot be compared one by one**: the papers measured on
their own patients, with networks trained for hours or days on GPUs; here are real pairs held out
and virtual patients, and networks trained for minutes on two CPU cores. What can be compared is
whether one method is better than another.

Ours are means over patients [95 % bootstrap interval], n the number of patients; a difference is
paired by patient: ✓ as the paper has it, ~ not shown, ✗ the other way. Real pairs have low doses
that were **simulated** by the signal equation."""
TAIL = """\
## Commands

`python training/papers.py --measure NAME --folder TRAIN=PAIRS` runs a command and keeps what it
finds in `docs/papers/results/NAME.csv`; `python training/papers.py` writes this page. In the
commands `DATA`, `EVAL` and `TRAIN` are folders of pairs and `RUNS` one of trained networks
([training](training.md)); other words in capitals are:
"""


def page() -> str:
    """Return the text of the page. Raises RequestError for a claim that is not whole."""
    known = measurements()
    papers = [read_paper(key) for key in PAPERS]
    parts = [HEAD, summary(papers, known)]
    parts += [section(paper, known) for paper in papers]
    used = {reading.of for paper in papers for claim in paper.claims for reading in claim.readings}
    parts += [TAIL + "\n" + told_words(known)]
    parts += [told_measurement(each) for name, each in known.items() if name in used]
    return "\n\n".join(parts) + "\n"


def summary(papers: Sequence[Paper], known: Mapping[str, Measurement]) -> str:
    """Return a table of how many claims of each paper have each verdict."""
    lines = [f"| | claims | {' | '.join(VERDICTS)} |", "|---" * (len(VERDICTS) + 2) + "|"]
    total: Counter[str] = Counter()
    for paper in papers:
        found = Counter(claim.verdict(claim.figures(known).values()) for claim in paper.claims)
        lines.append(_counted(f"[{paper.title}](#{anchor(paper.title)})", found))
        total += found
    lines.append(_counted("**all**", total))
    told = [f"* **{name}**: {meaning}." for name, meaning in VERDICTS.items()]
    return "\n".join([*lines, "", *told])


def anchor(heading: str) -> str:
    """Return the anchor of a heading."""
    return heading.lower().replace(" ", "-")


def _counted(name: str, found: Counter[str]) -> str:
    cells = [str(found.total()), *(str(found[verdict] or "") for verdict in VERDICTS)]
    return f"| {name} | {' | '.join(cells)} |"


def section(paper: Paper, known: Mapping[str, Measurement]) -> str:
    """Return the claims of a paper."""
    lines = [f"## {paper.title}\n\nThe paper: {paper.data}\n"]
    lines += ["| claim | verdict | the paper | ours |", "|---|---|---|---|"]
    for claim in paper.claims:
        figures = claim.figures(known)
        verdict = claim.verdict(figures.values())
        if lacking := incomplete(claim, verdict):
            raise RequestError(f"{paper.key}: {lacking}")
        why = f": {claim.why}" if claim.why else ""
        cells = [f"**{claim.where}.** {claim.says}", f"**{verdict}**{why}"]
        cells += [claim.paper, ours(claim, figures)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def ours(claim: Claim, figures: Mapping[Reading, Figure]) -> str:
    """Return our figures, and the commands that bring others."""
    told: dict[str, list[str]] = {}
    for reading, figure in figures.items():
        link = f"([{reading.of}](#{reading.of}), n = {figure.patients})"
        told.setdefault(link, []).append(f"{heading(reading)}: {figure.text}")
    texts = [f"{'<br>'.join(each)} {link}" for link, each in told.items()]
    missing = {reading.of: None for reading in claim.readings if reading not in figures}
    texts += [f"to be measured: [{name}](#{name})" for name in missing]
    texts += [f"`{words}`" for words in (claim.command, claim.picture, claim.test) if words]
    return "<br>".join(texts) or "no command yet"


def heading(reading: Reading) -> str:
    """Return what a reading is of, in words."""
    at = "".join(f", {name} {value}" for name, value in reading.at.items())
    return f"{MEASURES[reading.measure]}{at}"


def told_words(known: Mapping[str, Measurement]) -> str:
    """Return what the words of the commands stand for."""
    words = next(iter(known.values())).words
    return "\n".join(f"* `{name}`: {value}" for name, value in words.items())


def told_measurement(measurement: Measurement) -> str:
    """Return how a result file came to be."""
    on = f"{measurement.on[0].upper()}{measurement.on[1:]}."
    command = f"```\n{measurement.whole_command}\n```"
    if not measurement.is_there:
        return f"### {measurement.name}\n\n{on} Not measured yet.\n\n{command}"
    record = measurement.recorded()
    weights = {each for line in measurement.lines() for each in line["weights"].split()}
    versions = {line["contrastsynth"] for line in measurement.lines()}
    minutes = max(1, round(record["cpu_seconds"] / 60))
    told = [
        f"{on} {record['date']}, ContrastSynth {', '.join(sorted(versions))}, {minutes} CPU min "
        "on one core."
    ]
    if weights:
        told.append(f"Weights: {', '.join(sorted(weights))}.")
    return f"### {measurement.name}\n\n{' '.join(told)}\n\n{command}"
