"""The tab in which a reader of a blinded study scores image after image, by keys alone if need be.

Nothing here tells which arm an image is of: the study's folder holds random names, and the volumes
in the scene are called "Image".
"""

import time
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.requirements import as_missing
from ContrastSynthPanel.scene.study_images import StudyImages
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
from ContrastSynthPanel.widgets.forms import add_row, empty_combo, long_text, new_form, show_text
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.score_form import ScoreForm
from ContrastSynthPanel.widgets.slots import connect

IDLE_S = 60.0  # without a key or a button for so long, nobody is reading
ONE, TWO = (_("Image"),), (_("Left"), _("Right"))


class StudyTab(Tab):
    """Opens the readers' folder of a study and goes through the readings of one reader."""

    title = _("Study")

    def __init__(self, box, changed):
        """Make the tab."""
        super().__init__(box, changed)
        self._store, self._folder, self._sitting, self._reading = None, None, None, None
        self._paused, self._seconds, self._looked, self._active = False, 0.0, None, 0.0
        self._drafts = {}  # of readings that were left without keeping their scores
        self.images, self.message, self._shown = StudyImages(), Message(), ""
        self._build_opening()
        self._build_reading()
        self.column.addWidget(self.message.widget)
        self.column.addStretch(1)
        self._show()

    def _build_opening(self) -> None:
        self.opening = qt.QWidget()
        form = new_form(self.opening)
        self.open_button = self._button("open", _("Open a study..."), "", self._choose_folder)
        self.open_button.toolTip = _("The folder that you were given, with study.sqlite in it.")
        self.reader_combo = empty_combo("reader")
        self.begin_button = self._button("begin", _("Begin"), "", self._begin)
        self.dependencies = DependencyBox(
            self._show, self.message.show, _("Needed for reader studies.")
        )
        form.addRow(self.dependencies.widget)
        form.addRow(self.open_button)
        add_row(form, _("Reader"), self.reader_combo)
        form.addRow(self.begin_button)
        self.column.addWidget(self.opening)

    def _build_reading(self) -> None:
        self.reading_box = qt.QWidget()
        column = qt.QVBoxLayout(self.reading_box)
        column.setContentsMargins(0, 0, 0, 0)
        self.progress_label = long_text()
        self.next_image_button = self._button(
            "other", _("Show the next image (B)"), "B", self._next_image
        )
        self.shown_label = long_text()
        self.form = ScoreForm(self._scored)
        self.comment_button = self._button("write", _("Comment (C)"), "C", self._write)
        self.comment = qt.QLineEdit()
        self.comment.objectName = "comment"
        self.flag = qt.QCheckBox(_("Flag this reading (F)"))
        self.flag.objectName = "flag"
        self.flag.shortcut = qt.QKeySequence("F")
        said = qt.QHBoxLayout()
        said.addWidget(self.comment_button)
        said.addWidget(self.comment)
        self.keep_button = self._button("keep", _("Keep and go on (Return)"), "Return", self._keep)
        self.back_button = self._button("back", _("Back (Backspace)"), "Backspace", self._back)
        self.pause_button = self._button("pause", _("Pause (P)"), "P", self._pause)
        for widget in (
            self.progress_label,
            self.shown_label,
            self.next_image_button,
            self.form.widget,
        ):
            column.addWidget(widget)
        column.addLayout(said)
        column.addWidget(self.flag)
        column.addWidget(self.keep_button)
        row = qt.QHBoxLayout()
        row.addWidget(self.back_button)
        row.addWidget(self.pause_button)
        column.addLayout(row)
        self.column.addWidget(self.reading_box)

    def _button(self, name: str, title: str, key: str, pressed):
        button = qt.QPushButton(title)
        button.objectName = name
        if key:
            button.shortcut = qt.QKeySequence(key)
        connect(button, "clicked(bool)", lambda *_signal: pressed())
        return button

    # Opening

    def _choose_folder(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(None, _("Folder of the study"))
        if path:
            self.open_folder(Path(str(path)))

    def open_folder(self, folder: Path) -> None:
        """Open the study of a readers' folder; say what is wrong with another one."""
        self._end()
        self._folder, store = self._told(lambda: _opened(folder)) or (None, None)
        self._store = store
        self.reader_combo.clear()
        for reader in store.readers if store is not None else []:
            self.reader_combo.addItem(reader)
        if store is not None:
            self.message.show("info", store.about.title)
        self._show()

    def _begin(self) -> None:
        from ContrastSynthLib.reader_study.sitting import Sitting

        reader = str(self.reader_combo.currentText)
        self._sitting = self._told(lambda: Sitting.begin(self._store, reader))
        self._go_on()

    def _told(self, do):
        """Return what something gives; None, and a message, where it cannot be done."""
        try:
            return do()
        except ContrastSynthError as error:
            self.message.show("failed", str(error))
        except ImportError as error:
            self.message.show("failed", str(as_missing(error) or error))
        return None

    # Reading

    def _go_on(self) -> None:
        """Show the first reading that is not scored, or that all is read."""
        if self._sitting is None:
            return
        try:
            reading = self._sitting.next()
        except ContrastSynthError as error:
            self._end()
            self.message.show("info", str(error))
            return
        if reading is None:
            self._end()
            self.message.show("done", _("All is read. Thank you."))
            return
        self._open(reading)

    def _open(self, reading) -> None:
        """Show a reading, with the scores that it was given before."""
        self._reading, self._paused, self._seconds = reading, False, 0.0
        given = self._sitting.given(reading.number)
        self.form.start(self._sitting.criteria, self._drafts.pop(reading.number, given))
        self.comment.text, self.flag.checked = "", False
        self._load()
        self._do_something()
        self._show()
        # Keys that score are to reach their buttons, not the comment that was written last.
        self.next_image_button.setFocus()

    def _write(self) -> None:
        """Let the next keys write the comment; Return keeps it with the scores."""
        self._do_something()
        self.comment.setFocus()

    def _load(self) -> None:
        """Bring the images of the reading into the scene, and show the first of them."""
        reading = self._reading
        if reading is None:
            return
        own = ONE if len(reading.images) == 1 else TWO
        beside = [_("Beside {number}").format(number=n + 1) for n in range(len(reading.beside))]
        names = dict(
            zip((*own, *beside), (*reading.images, *reading.beside), strict=True),
        )
        self._told(lambda: self.images.load(self._folder, names))
        if self.images.nodes:
            self._show_image(own[0], fit=True)

    def _show_image(self, title: str, *, fit: bool = False) -> None:
        self._shown = title
        self.images.show(title, fit=fit)
        show_text(self.shown_label, _("Shown: {title}").format(title=title))

    def _next_image(self) -> None:
        self._do_something()
        titles = list(self.images.nodes)
        if titles:
            after = (titles.index(self._shown) + 1) % len(titles)
            self._show_image(titles[after])

    def _scored(self) -> None:
        self._do_something()
        self._show()

    def _keep(self) -> None:
        """Keep the scores, the comment and the flag, and go on."""
        from ContrastSynthLib.reader_study.sitting import COMMENT, FLAG

        if self._reading is None or self._paused or self.form.missing:
            return
        self._do_something()
        number, comment = self._reading.number, str(self.comment.text).strip()

        def kept() -> bool:
            self._sitting.score(number, self.form.values, self._seconds)
            if comment:
                self._sitting.remark(number, COMMENT, comment)
            if self.flag.checked:
                self._sitting.remark(number, FLAG)
            return True

        if self._told(kept):
            self.message.show("info", "")
            self._go_on()

    def _back(self) -> None:
        """Show the reading before, to correct its scores."""
        if self._reading is None:
            return
        before = [one for one in self._sitting.readings if one.number < self._reading.number]
        done = self._sitting.done()
        scored = [one for one in before if one.number in done]
        if scored:
            self._keep_draft()
            self._open(scored[-1])

    def _pause(self) -> None:
        """Hide the images and stop the time; pressed once more, go on."""
        self._paused = not self._paused
        if self._paused:
            self.images.clear()
        else:
            self._load()
        self._do_something()
        self._show()

    def _keep_draft(self) -> None:
        if self._reading is not None and self.form.values:
            self._drafts[self._reading.number] = dict(self.form.values)

    def _end(self) -> None:
        """No reading is open any more."""
        self.images.clear()
        self._sitting, self._reading, self._drafts = None, None, {}
        self._show()

    # Time, without that of which nobody looks

    def _do_something(self) -> None:
        self._count()
        self._active = time.monotonic()

    def _count(self) -> None:
        """Add the time since the last look, unless nobody did anything for long."""
        now = time.monotonic()
        if self._looked is not None and not self._paused and now - self._active < IDLE_S:
            self._seconds += now - self._looked
        self._looked = now

    # What is shown

    def _show(self) -> None:
        reading = self._reading
        self.opening.visible = reading is None
        self.reading_box.visible = reading is not None
        lacking = self.dependencies.show(["study"], useful=()) if reading is None else ""
        self.open_button.enabled = not lacking
        self.begin_button.enabled = self.reader_combo.count > 0
        if reading is None:
            return
        count = len(self._sitting.readings)
        text = _("Reading {number} of {count}").format(number=reading.number, count=count)
        if self._paused:
            text = _("Paused. {text}").format(text=text)
        show_text(self.progress_label, text)
        for widget in (self.form.widget, self.comment_button, self.comment, self.flag):
            widget.enabled = not self._paused
        self.keep_button.enabled = not self._paused and not self.form.missing
        missing = ", ".join(self.form.missing)
        self.keep_button.toolTip = (
            _("No score yet: {names}").format(names=missing) if missing else ""
        )
        self.back_button.enabled = reading.number > 1
        self.pause_button.text = _("Go on (P)") if self._paused else _("Pause (P)")
        self.pause_button.shortcut = qt.QKeySequence("P")  # a new text takes it away

    # What the panel does

    def look(self) -> None:
        """Count the time that is looked at the images."""
        if self._reading is not None:
            self._count()

    def entered(self) -> None:
        """The images come back."""
        self._looked = None
        if self._reading is not None and not self._paused:
            self._load()

    def left(self) -> None:
        """Ask whether scores that are all there are to be kept; the images go."""
        if self._reading is not None and not self._paused:
            if self.form.values and not self.form.missing and self._is_new() and keeps_asked():
                self._keep()
            self._keep_draft()
        self.images.clear()
        self._looked = None

    def _is_new(self) -> bool:
        return self._sitting.given(self._reading.number) != self.form.values

    def scene_closed(self) -> None:
        """The images go with the scene; scores that were kept are kept."""
        self.images.clear()

    def close(self) -> None:
        """Remove the images."""
        self.images.clear()


def keeps_asked() -> bool:
    """Ask whether the scores of the reading that is left are to be kept."""
    return slicer.util.confirmYesNoDisplay(_("Keep the scores of this reading?"))


def _opened(folder: Path):
    from ContrastSynthLib.reader_study.blinding import open_store

    return open_store(folder)
