"""From a study to results in the archive, in steps that a restart goes on with.

A job is a rule and the series that it runs on. Its folder holds what the run wrote, the DICOM
objects, then ``made.json`` that vouches for them, then ``sent.json``. Objects that are sent once
more, because the node was killed before it knew, are the same objects.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ContrastSynthLib.archive.archive import send
from ContrastSynthLib.dicom_export.export import export
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.dicom_study.study import Study, read_study
from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.selection import split_selection
from ContrastSynthLib.files.writing import write_text
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.stored_result import StoredResult
from ContrastSynthLib.service.command import Tell, run_command
from ContrastSynthLib.service.rules import Rule, Rules

if TYPE_CHECKING:
    from ContrastSynthLib.dicom_study.proposal import Part

MADE, SENT, FAILED = "made.json", "sent.json", "failed.json"
RUN = "run-"
"""How the names of the folders begin that a run writes into."""
LONGEST_REASON = 1000


@dataclass(frozen=True)
class Job:
    """A rule, the sources of its inputs by role, the folder of what is made, and the study."""

    rule: Rule
    sources: dict[str, str]
    folder: Path
    study_uid: str

    def __str__(self) -> str:
        return f"{self.folder.name} ({self.rule.method}, study {self.study_uid})"

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return (self.folder / SENT).exists() or (self.folder / FAILED).exists()

    def go_on(self, rules: Rules, tell: Tell) -> str:
        """Do what is left of it; return what became of it. ``tell`` gets the share of a run.

        What cannot be done stands in ``failed.json``, and is not tried again: a study that fails
        once fails each time. Where an archive does not answer, it is tried again later.
        """
        try:
            if not (self.folder / MADE).exists():
                self._make(tell)
        except ContrastSynthError as error:
            reason = str(error)[:LONGEST_REASON]
            write_text(self.folder / FAILED, json.dumps({"reason": reason}) + "\n")
            return f"failed: {reason}"
        try:
            counts = {
                title: send(rules.receiver(title), [self.folder / "dicom"])
                for title in self.rule.to
            }
        except ContrastSynthError as error:
            return f"waits: {error}"
        write_text(self.folder / SENT, json.dumps(counts) + "\n")
        return "sent: " + ", ".join(f"{count} objects to {to}" for to, count in counts.items())

    def _make(self, tell: Tell) -> None:
        """Run the method and write the DICOM objects, from the start: none is there whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in (*self.folder.glob(f"{RUN}*"), self.folder / "dicom"):
            shutil.rmtree(old, ignore_errors=True)
        # Of a node that was killed a run may still be under way: it has a folder of its own.
        with tempfile.TemporaryDirectory(prefix=RUN, dir=self.folder) as run:
            self._run_and_export(Path(run) / "result", tell)

    def _run_and_export(self, result: Path, tell: Tell) -> None:
        run_command(self._words(result), tell)
        reference = METHODS[self.rule.method].reference
        template = Template.read(*split_selection(self.sources[reference]))
        made = export(StoredResult.read(result), template, self.folder / "dicom")
        told = {"files": [str(file) for file in made.files], "warnings": made.warnings}
        write_text(self.folder / MADE, json.dumps(told) + "\n")

    def _words(self, result: Path) -> list[str]:
        """Return the command of the run: a process of its own, which gives its memory back."""
        rule = self.rule
        words = [sys.executable, "-m", "ContrastSynthLib", "run", rule.method]
        words += ["--out", str(result), "--progress", "json"]
        words += [w for role, path in self.sources.items() for w in ("--in", f"{role}={path}")]
        words += [
            w for name, value in (rule.set or {}).items() for w in ("--set", f"{name}={value}")
        ]
        words += ["--preset", rule.preset] if rule.preset else []
        return words + (["--mask", rule.mask] if rule.mask else [])


def jobs_of(study_folder: Path, rules: Rules) -> tuple[list[Job], list[str]]:
    """Return the jobs of a study that arrived, and why there is none for a rule.

    Raises RequestError for a folder that holds no study.
    """
    study = read_study(study_folder)
    jobs, reasons = [], []
    for rule in rules.rules:
        try:
            sources, uids = _inputs(study, rule)
        except RequestError as error:
            reasons.append(f"{rule.name}: {error}")
            continue
        digest = hashlib.sha256("\n".join([rule.name, *uids]).encode()).hexdigest()[:16]
        folder = rules.folder / "jobs" / f"{rule.name}_{digest}"
        jobs.append(Job(rule, sources, folder, study.uid))
    return jobs, reasons


def _inputs(study: Study, rule: Rule) -> tuple[dict[str, str], list[str]]:
    """Return the sources of a method's inputs, and the UIDs of what they hold."""
    method, proposal = METHODS[rule.method], study.propose()
    sources, uids = {}, []
    for role, declared in method.inputs.items():
        part = proposal.parts.get(role)
        if part is None:
            if not declared.optional:
                raise RequestError(f"no series for '{role}'. " + " ".join(proposal.missing))
            continue
        if not part.sure and not rule.unsure:
            if declared.optional:
                continue
            raise RequestError(
                f"'{role}' may be {part.series.label}, but that is not sure. A rule with "
                "unsure = true takes it."
            )
        sources[role] = _source(study, part)
        uids.append(f"{role} {part.series.uid} {part.phase} {part.series.images}")
    return sources, uids


def _source(study: Study, part: Part) -> str:
    place = study.source(part.series)
    if place is None:
        raise RequestError(f"the files of {part.series.label} lie in one folder with others.")
    return str(place) if part.phase is None else f"{place}@{part.phase}"
