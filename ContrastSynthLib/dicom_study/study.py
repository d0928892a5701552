"""A study: its series, what they are, and who plays which role."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ContrastSynthLib.dicom_study.contrast import with_agents
from ContrastSynthLib.dicom_study.headers import Found, found_in
from ContrastSynthLib.dicom_study.moments import acquired_s
from ContrastSynthLib.dicom_study.places import Places, places_of
from ContrastSynthLib.dicom_study.privacy import private_words, without_names
from ContrastSynthLib.dicom_study.proposal import Proposal, propose
from ContrastSynthLib.dicom_study.series import Series, series_of
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.header import Frame


@dataclass(frozen=True)
class Study:
    """The series of one study in the order of their acquisition, and notes on what was left out."""

    path: Path
    uid: str
    series: tuple[Series, ...]
    notes: tuple[str, ...]
    occupied: frozenset[Path]
    """Folders in which DICOM files of several series lie, of this study or another."""

    def propose(self, chosen: Sequence[tuple[str, str]] = ()) -> Proposal:
        """Return who plays which role; ``chosen`` as in :func:`.proposal.propose`."""
        return propose(self.series, chosen)

    def source(self, series: Series) -> Path | None:
        """Return the folder or file from which the series can be read; None where it is mixed."""
        if len(series.files) == 1:
            return series.files[0]
        folders = {file.parent for file in series.files}
        return None if len(folders) > 1 or folders & self.occupied else folders.pop()


def read_study(path: Path, chosen: str | None = None) -> Study:
    """Return the study below a folder, or the one of a DICOMDIR; only headers are read.

    ``chosen`` is the number or UID of one of several. Raises RequestError for a place without
    DICOM, for several studies, which it lists, when none is chosen, and for an unknown choice.
    """
    return study_of(path, places_of(path), chosen)


def study_of(path: Path, places: Places, chosen: str | None = None) -> Study:
    """Return the study of some files, which belong to ``path``; errors as in :func:`read_study`."""
    with warnings.catch_warnings():  # pydicom's, of many small faults in headers
        warnings.simplefilter("ignore")
        found = found_in(path, places)
        frames = _of_one_study(path, found, chosen)
        private = private_words(found.frames)
        groups: dict[str, list[Frame]] = {}
        for frame in frames:
            groups.setdefault(_series_key(frame), []).append(frame)
        series = with_agents([series_of(group, private) for group in groups.values()])
    series.sort(key=lambda one: (one.acquired_s is None, one.acquired_s or 0.0, one.number or 0))
    uid = str(frames[0].value("StudyInstanceUID") or "")
    notes = (*found.notes(private), *_on_patients(frames))
    return Study(path, uid, tuple(series), notes, _occupied(found.frames))


def _series_key(frame: Frame) -> str:
    uid = str(frame.value("SeriesInstanceUID") or "")
    return uid or f"{frame.value('SeriesNumber')} {frame.value('SeriesDescription')}"


def _occupied(frames: Sequence[Frame]) -> frozenset[Path]:
    series: dict[Path, set[str]] = {}
    for frame in frames:
        series.setdefault(frame.path.parent, set()).add(_series_key(frame))
    return frozenset(folder for folder, keys in series.items() if len(keys) > 1)


def _on_patients(frames: Sequence[Frame]) -> list[str]:
    patients = {str(frame.value("PatientID") or "").strip() for frame in frames} - {""}
    if len(patients) < 2:
        return []
    return [f"Images of {len(patients)} patients (PatientID) are in this study: check the pair."]


def _of_one_study(path: Path, found: Found, chosen: str | None) -> list[Frame]:
    """Return the frames of the study that is chosen, or of the only one."""
    groups: dict[str, list[Frame]] = {}
    for frame in found.frames:
        groups.setdefault(str(frame.value("StudyInstanceUID") or ""), []).append(frame)
    studies = sorted(groups.values(), key=lambda frames: (_date(frames), acquired_s(frames) or 0.0))
    if chosen is None and len(studies) == 1:
        return studies[0]
    rows = [_row(n, frames, private_words(found.frames)) for n, frames in enumerate(studies, 1)]
    listed = "Choose one by its number or UID (--study):\n" + "\n".join(rows)
    if chosen is None:
        raise RequestError(f"{path}: holds {len(studies)} studies, expected one. {listed}")
    for number, frames in enumerate(studies, start=1):
        if chosen in (str(number), str(frames[0].value("StudyInstanceUID") or "")):
            return frames
    raise RequestError(f"{path}: there is no study '{chosen}'. {listed}")


def _date(frames: Sequence[Frame]) -> str:
    return str(frames[0].value("StudyDate") or "")


def _row(number: int, frames: Sequence[Frame], private: frozenset[str]) -> str:
    day = _date(frames)
    shown = f"{day[:4]}-{day[4:6]}-{day[6:8]}" if len(day) == 8 else "no date"
    description = without_names(frames[0].value("StudyDescription"), private)
    count = len({_series_key(frame) for frame in frames})
    uid = frames[0].value("StudyInstanceUID") or "no UID"
    return f"  {number}: {shown}, '{description}', {count} series, {uid}"
