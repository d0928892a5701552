"""The seed of a method that draws random numbers, and which one the last run used."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError, without_options
from ContrastSynthLib.registry import Method
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import seed_of
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import add_row, new_form
from ContrastSynthPanel.widgets.slots import connect


class SeedBox:
    """A line for the seed, empty for a new one each run; hidden for methods that draw nothing.

    Seeds are kept by method: ``given`` is the text that was typed, ``used`` what the last run
    took.
    """

    def __init__(self, changed):
        """Make the box; ``changed`` is called when another seed is typed."""
        self._changed, self._echo, self._method, self._seeds = changed, Echo(), None, {}
        self.widget, self.edit, self.label = qt.QWidget(), qt.QLineEdit(), qt.QLabel()
        self.edit.objectName = "seed"
        self.edit.placeholderText = _("a new one each run")
        self.edit.toolTip = _(
            "Where the random numbers of a run start. The same seed, scans and parameters give "
            "the same result. Empty: each run draws a new one."
        )
        self.label.wordWrap = True
        form = new_form(self.widget)
        add_row(form, _("Seed"), self.edit)
        form.addRow(self.label)
        connect(self.edit, "textChanged(QString)", self._typed)

    def set_method(self, method: Method) -> None:
        """Show the seed of another method."""
        self._method = method
        self.widget.visible = method.random
        self._show()

    @property
    def chosen(self) -> int | None:
        """The seed that was typed; None for a new one, and where what was typed is none."""
        text = self._own.get("given", "")
        return int(text) if text and not self.problem() else None

    def problem(self) -> str:
        """Return what is wrong with the seed that was typed; nothing if nothing."""
        text = self._own.get("given", "")
        try:
            seed_of(Request(self._method.key, {}, seed=text or None))
        except RequestError as error:
            return without_options(str(error))
        return ""

    def show_used(self, method: Method, provenance: dict) -> None:
        """Show which seed a run of a method used."""
        if method.random and isinstance(provenance.get("seed"), int):
            self._seeds.setdefault(method.key, {})["used"] = provenance["seed"]
            self._show()

    def state(self) -> dict:
        """Return what :meth:`restore` takes."""
        return {key: dict(one) for key, one in self._seeds.items()}

    def restore(self, seeds: dict) -> None:
        """Show saved seeds."""
        self._seeds = {key: dict(one) for key, one in seeds.items()}
        self._show()

    @property
    def _own(self) -> dict:
        if self._method is None or not self._method.random:
            return {}
        return self._seeds.get(self._method.key, {})

    def _show(self) -> None:
        with self._echo:
            self.edit.text = self._own.get("given", "")
        used = self._own.get("used")
        self.label.text = "" if used is None else _("The last run used {n}.").format(n=used)
        self.label.visible = used is not None

    def _typed(self, *_signal) -> None:
        if not self._echo:
            self._seeds.setdefault(self._method.key, {})["given"] = str(self.edit.text).strip()
            self._changed()
