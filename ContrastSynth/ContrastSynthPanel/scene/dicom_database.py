"""Slicer's DICOM database: its patients and studies, what their series are, and scans of them.

The scans are read by the library, not by Slicer's DICOM module: with the times of their phases and
the settings of the scanner, and refused where a slice is missing. They lie under their patient in
the subject hierarchy, where Slicer's own would lie as well.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthPanel.background import Elsewhere, Task
from ContrastSynthPanel.scene import bridge, relations
from ContrastSynthPanel.scene.sample_data import put_into

if TYPE_CHECKING:
    from ContrastSynthLib.dicom_study.series import Series
    from ContrastSynthLib.volumes import Volume

Node = Any  # of MRML
STUDY_DATE, PATIENT_ID = "0008,0020", "0010,0020"
DICOM = "DICOM"  # what Slicer calls the identifiers of patients in the subject hierarchy
PHASES = "phase"


def is_open() -> bool:
    """Return whether Slicer has a database that can be asked."""
    found = _database()
    return found is not None and bool(found.isOpen)


def patients() -> dict[str, str]:
    """Return the names of all patients by the keys of the database, in the order of the names."""
    names = {str(uid): str(_database().nameForPatient(uid)) for uid in _database().patients()}
    count = Counter(names.values())
    told = {uid: name if count[name] == 1 else f"{name} ({uid})" for uid, name in names.items()}
    return dict(sorted(told.items(), key=lambda item: item[1].casefold()))


def studies(patient: str) -> dict[str, str]:
    """Return date, description and number of series of a patient's studies by UID, latest first."""
    found = []
    for uid in map(str, _database().studiesForPatient(patient)):
        series = _database().seriesForStudy(uid)
        files = _database().filesForSeries(series[0]) if series else ()
        day = str(_database().fileValue(files[0], STUDY_DATE)) if files else ""
        date = f"{day[:4]}-{day[4:6]}-{day[6:8]}" if len(day) == 8 else _("no date")
        text = _("{date} {description} ({count} series)").format(
            date=date, description=_database().descriptionForStudy(uid), count=len(series)
        )
        found.append((day, uid, text))
    return {uid: text for _day, uid, text in sorted(found, reverse=True)}


def reading_study(uid: str) -> Task:
    """Return, as a task, the series of a study and what they are; only headers are read.

    Raises RequestError for a study of which no file is there.
    """
    found = _database()
    files = [Path(str(f)) for s in found.seriesForStudy(uid) for f in found.filesForSeries(s)]
    yield _("Reading headers")
    return (yield Elsewhere(_study, files))


def adding_scans(patient: str, roles: Sequence[tuple[Series, str]]) -> Task:
    """Add series with their roles to the scene, as a task; return the nodes by role.

    The role ``phase`` is all phases of a series. Raises RequestError for a series that cannot be
    read; those that were read before stay.
    """
    nodes: dict[str, Node] = {}
    for series, role in roles:
        yield _("Reading {series}").format(series=series.label)
        with tempfile.TemporaryDirectory(dir=slicer.app.temporaryPath) as folder:
            volumes = yield Elsewhere(_volumes, series, role, Path(folder) / "series")
        nodes[role] = yield from _adding(series, role, volumes)
        folder_of_patient = _patient_item(patient, series)
        put_into(folder_of_patient, nodes[role])
        if role == PHASES:
            put_into(folder_of_patient, bridge.shown_volume(nodes[role]))
    return nodes


def _database() -> Any:
    return getattr(slicer, "dicomDatabase", None)


def _study(files: list[Path]) -> Any:
    from ContrastSynthLib.dicom_study.places import Places
    from ContrastSynthLib.dicom_study.study import study_of

    there = tuple(file for file in files if file.is_file())
    if not there:
        raise RequestError(
            f"None of the {len(files)} files of this study is there. Import it again."
        )
    absent = tuple(file.name for file in files if file not in there)
    return study_of(Path(there[0].anchor), Places(there, absent))


def _volumes(series: Series, role: str, folder: Path) -> list[Volume]:
    """Return the volumes of a series: one, or all of its phases."""
    from ContrastSynthLib.dicom_study.splitting import gather
    from ContrastSynthLib.files.dicom.reader import read_dicom, read_dicom_series

    gather(series, folder)
    try:
        return read_dicom_series(folder) if role == PHASES else [read_dicom(folder)]
    except RequestError as error:
        text = str(error).replace(f"{folder}: ", "").replace(str(folder), "FOLDER")
        raise RequestError(f"{series.label}: {text}") from None


def _adding(series: Series, role: str, volumes: list[Volume]) -> Task:
    kind = bridge.SEQUENCE if role == PHASES else bridge.VOLUME
    name = slicer.mrmlScene.GenerateUniqueName(series.description or series.label)
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    if role == PHASES:
        yield from bridge.filling_sequence(node, volumes)
        bridge.shown_volume(node).CreateDefaultDisplayNodes()
    else:
        (volume,) = volumes
        bridge.fill_node(node, volume, volume.grid.index_to_ras, None)
        node.CreateDefaultDisplayNodes()
    node.SetAttribute(relations.ROLE, role)
    return node


def _patient_item(patient: str, series: Series) -> int:
    """Return the patient in the subject hierarchy, by ID: names may be those of two patients."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    known = str(_database().fileValue(str(series.files[0]), PATIENT_ID)) or patient
    if item := tree.GetItemByUID(DICOM, known):
        return int(item)
    name = str(_database().nameForPatient(patient))
    item = tree.CreateSubjectItem(tree.GetSceneItemID(), name)
    tree.SetItemUID(item, DICOM, known)
    return int(item)
