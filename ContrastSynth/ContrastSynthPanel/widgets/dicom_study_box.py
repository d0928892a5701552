"""A study of Slicer's DICOM database: what its series are, and which of them are loaded as what."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene import dicom_database
from ContrastSynthPanel.widgets.action import Action
from ContrastSynthPanel.widgets.forms import (
    add_choice,
    add_row,
    choose,
    chosen,
    combo,
    empty_combo,
    new_form,
    new_section,
)
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table
from ContrastSynthPanel.widgets.work_box import WorkBox

NOTHING = ""
ROLES = {
    NOTHING: _("Leave out"),
    **{"pre": _("Pre"), "post": _("Post"), "low": _("Low dose"), "t2": "T2", "flair": "FLAIR"},
    **{"adc": "ADC", dicom_database.PHASES: _("Phases")},
}
AS = 2  # the column of the roles


class DicomStudyBox:
    """A section, seen while Slicer has a DICOM database. ``loaded`` gets the nodes by role."""

    def __init__(self, loaded):
        """Make it, closed: nothing is asked of the database until somebody opens it."""
        self._loaded, self.study, self.roles = loaded, None, []
        content = qt.QWidget()
        column = qt.QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        choices = qt.QWidget()
        form = new_form(choices)
        self.patient, self.studies = empty_combo("dicom patient"), empty_combo("dicom study")
        add_row(form, _("Patient"), self.patient)
        add_row(form, _("Study"), self.studies)
        self.table = new_table([_("Series"), _("What it is"), _("Load as")])
        ready = _("Reads the series that have a role, and picks them for the method.")
        self.action = Action("load study", _("Load"), ready, self._load)
        self.message = Message()
        self.work = WorkBox(lambda: self.message.show("warning", _("Cancelled.")))
        for part in (choices, self.table):
            column.addWidget(part)
        for part in (self.action, self.work, self.message):
            column.addWidget(part.widget)
        self.widget = new_section(_("Scans from the DICOM database"), content)
        self.widget.collapsed = True
        connect(self.widget, "contentsCollapsed(bool)", lambda _closed: self.follow())
        connect(self.patient, "activated(int)", lambda _n: self._show_studies())
        connect(self.studies, "activated(int)", lambda _n: self._read())
        self.follow()

    def follow(self) -> None:
        """Show the patients that the database has now, while the section is open."""
        self.widget.visible = dicom_database.is_open()
        if self.widget.collapsed or not dicom_database.is_open():
            return
        patients = dicom_database.patients()
        self.action.block("" if patients else _("The database is empty: import DICOM first."))
        if _refill(self.patient, patients):
            self._show_studies()

    def _show_studies(self) -> None:
        patient = chosen(self.patient)
        _refill(self.studies, dicom_database.studies(patient) if patient else {})
        self._read()

    def _read(self) -> None:
        """Find out what the series of the chosen study are."""
        self._show(None)
        self.message.show("info", "")
        if uid := chosen(self.studies):
            task = dicom_database.reading_study(uid)
            self.work.start(task, self._show, self._failed, _("Reading headers"))

    def _show(self, study) -> None:
        """Show series with the roles that are proposed for them; no study shows none."""
        self.study, self.roles = study, []
        series = study.series if study is not None else ()
        fill(
            self.table,
            [[one.label, one.kind, ""] for one in series],
            words=(0, 1),
            tips=[
                _("{images} images, {size} {plane} {time}").format(
                    images=one.images,
                    size=one.layout.size if one.layout else "",
                    plane=one.layout.plane if one.layout else "",
                    time=one.time,
                )
                for one in series
            ],
        )
        proposed = self._proposed()
        for n, one in enumerate(series):
            box = combo(f"role {n}", ROLES)
            choose(box, proposed.get(one.uid, NOTHING))
            connect(box, "activated(int)", lambda _n: self._check())
            self.table.setCellWidget(n, AS, box)
            self.roles.append(box)
        fit_height(self.table)
        self._check()
        if study is not None:
            told = [*study.notes, *(f"{s.label}: {text}" for s in series for text in s.warnings)]
            told += [
                _("{role}: is {series} right? It is not sure.").format(
                    role=ROLES[role], series=part.series.label
                )
                for role, part in study.propose().parts.items()
                if not part.sure and part.phase is None
            ]
            self.message.show("warning" if told else "info", "\n".join(told))

    def _proposed(self) -> dict:
        """Return the proposed role of each series; single phases come with the whole series."""
        parts = self.study.propose().parts if self.study is not None else {}
        return {part.series.uid: role for role, part in parts.items() if part.phase is None}

    def _chosen(self) -> list:
        """Return series with their roles, as they stand in the table."""
        series = self.study.series if self.study is not None else ()
        found = zip(series, map(chosen, self.roles), strict=True)
        return [(one, role) for one, role in found if role != NOTHING]

    def _check(self) -> None:
        roles = [role for _series, role in self._chosen()]
        twice = next((role for role in roles if roles.count(role) > 1), None)
        if twice is not None:
            text = _("Two series are loaded as '{role}'.").format(role=ROLES[twice])
        else:
            text = "" if roles else _("No series has a role.")
        self.action.block(text)

    def _load(self) -> None:
        self.message.show("info", "")
        self.action.busy(_("Reading"))
        task = dicom_database.adding_scans(chosen(self.patient), self._chosen())
        self.work.start(task, self._done, self._failed, _("Reading"))

    def _done(self, nodes) -> None:
        self.action.busy("")
        names = ", ".join(node.GetName() for node in nodes.values())
        self.message.show("done", _("Loaded: {names}").format(names=names))
        self._loaded(nodes)

    def _failed(self, error) -> None:
        self.action.busy("")
        self.message.show("failed", str(error))

    def close(self) -> None:
        """End what is under way."""
        self.work.stop()
        self.action.busy("")


def _refill(box, entries: dict) -> bool:
    """Show other entries in a list, and the chosen one if it is still there; False if the same."""
    if {box.itemData(n): box.itemText(n) for n in range(box.count)} == entries:
        return False
    kept = chosen(box)
    box.clear()
    for key, title in entries.items():
        add_choice(box, title, key)
    choose(box, kept)
    return True
