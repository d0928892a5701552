"""The tab that shows where contrast agent went, and which enhancement was missed or invented."""

from slicer.i18n import tr as _

from ContrastSynthPanel.scene import bridge, uptake_results, uptake_sources, uptake_words, views
from ContrastSynthPanel.scene.case import INPUT, MASK, RESULT, TRUTH
from ContrastSynthPanel.scene.uptake_asked import Asked, changes
from ContrastSynthPanel.scene.uptake_nodes import COMPARISON, OVERLAY, UptakeNodes
from ContrastSynthPanel.scene.uptake_views import UptakeViews
from ContrastSynthPanel.scene.view_keeper import is_there
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.action import Action
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
from ContrastSynthPanel.widgets.forms import new_section
from ContrastSynthPanel.widgets.lesion_table import LesionTable
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.notice import Notice
from ContrastSynthPanel.widgets.slots import once_after
from ContrastSynthPanel.widgets.uptake_display import LESIONS, UPTAKE, UptakeDisplay
from ContrastSynthPanel.widgets.uptake_form import UptakeForm
from ContrastSynthPanel.widgets.work_box import WorkBox

UPDATE_AFTER_MS = 100  # while a slider moves, it is not computed at every step
BUTTON = _("Show uptake")


class UptakeTab(Tab):
    """What counts as uptake, how much of it there is, its lesions, and how they are drawn."""

    title = _("Uptake")
    uses = (INPUT, RESULT, TRUTH, MASK)

    def __init__(self, box, changed):
        """Make the tab."""
        super().__init__(box, changed)
        self._resample, self._scans = False, None  # what was read, and of which stamps
        self._asking = None  # what was asked for last, whatever came of it
        # What the results are of, and their nodes by what they are.
        self.asked, self.made = None, {}
        self._summary, self._about = "", {}
        self._timer = once_after(UPDATE_AFTER_MS, self._update)
        self.work = WorkBox(self._cancelled)
        self.form = UptakeForm(self._set, self._told)
        self.action = Action("show", BUTTON, "", self._pressed)
        self.notice = Notice(self._resample_and_show)
        self.dependencies = DependencyBox(self._check, self.notice.show)
        self.saved = Message()
        self.table = LesionTable(self._jump, self._write_table, self.saved.show)
        self.display = UptakeDisplay(self._draw)
        self.views = UptakeViews()
        self._build()
        self._check()

    def _build(self) -> None:
        self.lesions_section = new_section("", self.table.widget)
        for widget in (
            new_section(_("Threshold"), self.form.widget),
            self.dependencies.widget,
            self.action.widget,
            self.work.widget,
            self.notice.widget,
            self.lesions_section,
            self.saved.widget,
            new_section(_("Display"), self.display.widget),
        ):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    # What the scene does

    def scene_changed(self) -> None:
        """Nodes came or went."""
        self._check()

    def case_changed(self) -> None:
        """The case is another one: what was said and allowed of the one before does not count."""
        before = self._asking.nodes if self._asking is not None else {}
        now = self._now().nodes
        if now != before and self.asked is None:
            self.notice.show("info", "")
        if any(now.get(role) is not before.get(role) for role in {*now, *before} - {MASK}):
            self._resample = False
        self._check()

    def node_removed(self) -> None:
        """A node is gone: what is computed of it is of no use."""
        if self.work.running and not self._asking.is_there():
            self._stop()
            self.notice.show("warning", _("It was stopped: one of its scans was deleted."))
        self._check()

    def look(self) -> None:
        """Say so at once when a number is out of date."""
        self._check()

    def scene_closed(self) -> None:
        """The scene is about to be closed."""
        self._stop()

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._scans, self.asked, self.made, self._summary = None, None, {}, ""
        self._asking, self._resample = None, False
        self.notice.show("info", "")
        self.saved.show("info", "")
        self._check()

    def close(self) -> None:
        """The panel is being taken down."""
        self._stop()

    def entered(self) -> None:
        """Show what was put away when the tab was left."""
        self._check()
        if self.asked is not None and not self._outdated() and not self.views.keeper.active:
            self._lay_out()

    def left(self) -> None:
        """Put the slice views back, unless the person wants to keep the uptake in them."""
        if not self.display.keep.checked:
            self.views.put_away(self.made)

    # What is asked for, and whether what is shown is the answer

    def _now(self) -> Asked:
        settings = self.form.settings
        sources = uptake_sources.sources_of(self.case, settings.measured)
        return Asked.of(sources, self.case.segment(MASK), settings, self._resample)

    def _outdated(self) -> str:
        """Return what was changed since what is shown was computed; nothing if it is true."""
        return changes(self.asked, self._now(), self.made)

    @property
    def busy(self) -> bool:
        """Whether something is computed, or about to be."""
        return self.work.running or bool(self._timer.active)

    def _check(self) -> None:
        """Show what can be asked for, and whether what is shown is still true."""
        self.form.show_map(uptake_sources.own_map(self.case) is not None)
        told = uptake_sources.told(self.case)
        self.form.show_input(told, uptake_sources.to_be_told(self.case))
        now = self._now()
        self.action.busy(_("It is being computed.") if self.work.running else "")
        unseen = self.case.unseen(MASK) if MASK in now.sources else ""
        self.action.block(uptake_sources.missing(self.case, now.sources) or unseen)
        self.dependencies.show([])
        if not self.busy:
            self._show_results(changes(self.asked, now, self.made))
        self.display.offer_lesions(self.asked is not None and is_there(self.made.get(COMPARISON)))

    def _show_results(self, outdated: str) -> None:
        """Show numbers as long as they are true, else what made them untrue."""
        if self.asked is None:
            self.lesions_section.visible = False
            return
        if outdated:
            text = _("Out of date: {what} changed since. Press '{button}'.")
            self._say("warning", text.format(what=outdated, button=BUTTON))
        else:
            self._say("warning" if "\N{BULLET}" in self._summary else "done", self._summary)
        self.lesions_section.visible = bool(self.table.rows) and not outdated
        self.lesions_section.enabled = True

    def _say(self, kind: str, text: str) -> None:
        if self.notice.text != text:
            self.notice.show(kind, text)
            self._changed()

    # What a person does

    def _told(self, role: str) -> None:
        if role:
            uptake_sources.tell(self.case, role)
            self.box.follow()
        self._check()

    def _set(self) -> None:
        """What counts as uptake is another: what is shown follows, if it is of these scans."""
        now = self._now()
        if self.asked is not None and self.asked.same_scans(now):
            self._timer.start()
        self._check()
        self._changed()

    def _pressed(self) -> None:
        self._check()  # what is chosen may have been changed since the last look
        if self.action.blocked:
            return
        self._scans = None  # names and marks may be others
        self._start(self._now(), lay_out=True)

    def _resample_and_show(self) -> None:
        self._resample = True
        self._pressed()

    def _update(self) -> None:
        now = self._now()
        if self.asked is not None and self.asked.same_scans(now):
            self._start(now, lay_out=False)

    def _cancelled(self) -> None:
        if self.asked is None:
            self.notice.show("info", _("Cancelled."))
        self._check()

    def _stop(self) -> None:
        self._timer.stop()
        self.work.stop()

    # The work

    def _start(self, asked: Asked, lay_out: bool) -> None:
        self._timer.stop()
        self._asking = asked
        self.notice.show("info", "")
        self.saved.show("info", "")
        self.lesions_section.enabled = False
        self.work.start(
            self._work_on(asked), lambda found: self._done(asked, found, lay_out), self._failed
        )
        self._check()

    def _work_on(self, asked: Asked):
        """Read what has changed, measure, and show it, as a task."""
        if self._scans is None or self._scans[0] != asked.scans:
            self._scans = None  # so that two of them are never held
            read = uptake_results.reading_scans(self.case, asked.sources, asked.resample)
            self._scans = asked.scans, (yield from read)
        scans = self._scans[1]
        measured = yield from uptake_results.measuring(scans, asked.settings)
        made = yield from uptake_results.showing(measured, scans, asked.sources)
        self.table.show(uptake_words.rows_of(measured))
        yield
        UptakeNodes(asked.sources, scans.names, scans.synthetic).add_table(self.table.rows)
        return scans, measured, made

    def _done(self, asked: Asked, found, lay_out: bool) -> None:
        scans, measured, made = found
        another = made[OVERLAY] is not self.made.get(OVERLAY)
        self.asked, self.made = asked, made
        self._summary = uptake_words.summary(measured, scans, asked.settings)
        self._about = uptake_words.about_rows(scans, asked.settings)
        self.form.show_region(scans.region.name if scans.region is not None else "")
        self._show_title()
        self.display.offer_lesions(COMPARISON in self.made)
        if lay_out or another:
            self._lay_out()
        self._check()
        self._draw()

    def _failed(self, error: Exception) -> None:
        self.asked, self._summary = None, ""
        self.table.show([])
        self._check()
        self.notice.show_error(error)

    # What is seen of it

    def _show_title(self) -> None:
        lesions = any("kind" in row for row in self.table.rows)
        title = _("Missed and invented enhancement") if lesions else _("Regions of uptake")
        self.lesions_section.text = title

    def _lay_out(self) -> None:
        scan = self.asked.sources.get("post")
        if scan is None:
            shown = bridge.volume_of_sequence(self.case.node(INPUT)) or self.made[OVERLAY]
        else:
            shown = scan.place
        self.views.lay_out(shown, self.made, self.display.look)

    def _draw(self) -> None:
        """Draw what is there as it was chosen."""
        self.views.draw(self.made, self.display.look)
        self._changed()

    def _jump(self, ras_mm) -> None:
        """Show a lesion, and the map that it is of."""
        if self.table.current is not None and "kind" in self.table.current:
            self.display.show(LESIONS)
        else:
            self.display.show(UPTAKE)
        self._draw()
        views.jump(ras_mm)

    def _write_table(self, path) -> None:
        uptake_words.write_rows(path, self.table.rows, self._about)

    # What a saved scene keeps

    def state(self) -> dict:
        """Return all that was chosen, the nodes of the results, and their summary."""
        asked = self.asked.state() if self.asked is not None else {}
        return {
            **self.form.state(),
            **asked,
            "display": self.display.state(),
            "resample": self._resample,
            "results": {name: node for name, node in self.made.items() if is_there(node)},
            "told": self._summary,
            "lesions": self.table.rows,
            "about": self._about,
            "outdated": self.asked is not None and bool(self._outdated()),
            "views": self.views.keeper.kept,
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        self._stop()
        self.form.restore(state)
        self.display.restore(state.get("display", {}))
        self._resample = state.get("resample", False)
        self.made = {name: one for name, one in state.get("results", {}).items() if one is not None}
        self.asked = self._asking = Asked.restored(state, self.case.segment(MASK))
        self._summary, self._about = state.get("told", ""), state.get("about", {})
        self.table.show(state.get("lesions", []))
        self._show_title()
        self.views.keeper.restore(state.get("views", []))
        self._check()
