"""The weights that a method can run with, what they were trained on, and their model card."""

import html
from pathlib import Path

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError, MissingError, RequestError
from ContrastSynthLib.registry import METHODS, Method
from ContrastSynthLib.weights.bundles import METADATA, import_bundle, look_up, shipped_and_imported
from ContrastSynthPanel.widgets.forms import let_shrink

CARD_HEIGHT = 220
# Of a model card, what a user asks about it; the rest is for those who train.
CARD = {
    "task": _("Task"),
    "inputs": _("Inputs"),
    "limits": _("Limits"),
    "metrics": _("Measured"),
    "licence": _("Licence"),
}
TRAINING = {"data": _("Trained on"), "data_licence": _("Licence of the training data")}


class WeightsBox:
    """A list of the weights that fit a method; hidden for methods that have none."""

    def __init__(self, changed, tell):
        """Make the box; ``changed`` is called when the user chooses other weights.

        ``tell`` is called with a kind and a text about an import.
        """
        self._tell = tell
        self.widget = qt.QWidget()
        self._changed, self._setting, self._bundles, self._method = changed, False, [], None
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.combo, self.card_button = let_shrink(qt.QComboBox()), qt.QPushButton(_("Model card"))
        self.combo.objectName, self.card_button.objectName = "weights", "card"
        self.card_button.checkable = True
        row = qt.QHBoxLayout()
        row.addWidget(qt.QLabel(_("Weights")), 1)
        self.import_button = qt.QPushButton(_("Import..."))
        self.import_button.objectName = "import"
        self.import_button.toolTip = _(
            "Copy weights that you were given, a .zip or the folder with a metadata.json, to the "
            "others on this machine."
        )
        self.import_button.connect("clicked(bool)", self._import)
        row.addWidget(self.import_button)
        row.addWidget(self.card_button)
        column.addLayout(row)
        column.addWidget(self.combo)  # in a row of its own: nothing in it may be cut off
        self.label = qt.QLabel()
        self.label.wordWrap = True
        column.addWidget(self.label)
        self.card = qt.QTextBrowser()
        self.card.setFixedHeight(CARD_HEIGHT)
        self.card.hide()
        column.addWidget(self.card)
        self.combo.connect("currentIndexChanged(int)", self._chosen)
        self.card_button.connect("toggled(bool)", self.card.setVisible)

    def set_method(self, method: Method) -> None:
        """Offer the weights of another method."""
        self._setting, self._method = True, method
        self.widget.visible = method.needs_torch
        self._bundles = [b for b in shipped_and_imported() if fits(b, method)]
        self.combo.clear()
        self.combo.addItem(_("The method's own"), "")
        for bundle in self._bundles:
            self.combo.addItem(bundle_title(bundle), bundle.id)
            self.combo.setItemData(self.combo.count - 1, bundle.id, qt.Qt.ToolTipRole)
        self._setting = False

    @property
    def chosen(self) -> str | None:
        """The id of the chosen weights; None for the method's own."""
        return self.combo.itemData(self.combo.currentIndex) or None

    def restore(self, wanted: str | None) -> None:
        """Choose saved weights; the method's own where those are not on this machine."""
        self._setting = True
        self.combo.setCurrentIndex(max(0, self.combo.findData(wanted or "")))
        self._setting = False

    def missing(self, needed: list[str]) -> str:
        """Show which weights a run takes, ``needed`` by name; return what keeps it from that."""
        used, missing = [], ""
        try:
            used = self._taken(needed)
            told = "; ".join(bundle_title(bundle) for bundle in used)
            told = _("Used: {titles}.").format(titles=told) if used else _("None are used.")
        except ContrastSynthError as error:
            told = missing = str(error)
        self.label.text = told
        self.card.setHtml("<hr>".join(card_html(bundle) for bundle in used))
        self.card_button.enabled = bool(used)
        return missing

    def _taken(self, needed: list[str]) -> list:
        """Return the bundles that a run takes. RequestError, MissingError where it would not."""
        own = next((bundle for bundle in self._bundles if bundle.id == self.chosen), None)
        place = own and (own.name if own.name in needed else self._method.weights)
        if own and place not in needed:
            title = bundle_title(own)
            told = _("{title}: not used with these parameters. Choose the method's own weights.")
            raise RequestError(told.format(title=title))
        there = {bundle.name for bundle in shipped_and_imported()}
        if absent := [f"'{name}'" for name in needed if name not in there and name != place]:
            told = _("The weights {names} are not on this machine.")
            if self._method.weights is None:
                told += " " + _("Import them, or choose parameters that need none.")
            raise MissingError(told.format(names=", ".join(absent)))
        return [own if name == place else look_up(name) for name in needed]

    def _import(self, *_signal) -> None:
        """Ask for weights, take them to the others, and choose them if they fit the method."""
        path = qt.QFileDialog.getOpenFileName(
            self.widget,
            _("A .zip of weights, or the metadata.json in their folder"),
            "",
            _("Weights") + f" (*.zip {METADATA})",
        )
        if not path:
            return
        chosen = Path(path)
        try:
            bundle = import_bundle(chosen.parent if chosen.name == METADATA else chosen)
        except ContrastSynthError as error:
            self._tell("failed", str(error))
            return
        wanted = bundle.id if fits(bundle, self._method) else self.chosen
        self.set_method(self._method)
        self.restore(wanted)
        told = _("Imported: {title}.").format(title=bundle_title(bundle))
        if not fits(bundle, self._method):
            title = METHODS[bundle.method].title if bundle.method in METHODS else bundle.method
            told += " " + _("They belong to the method '{title}'.").format(title=title)
        self._tell("done", told)
        self._changed()

    def _chosen(self, *_signal) -> None:
        if not self._setting:
            self._changed()


def fits(bundle, method: Method) -> bool:
    """Return whether a method may run with these weights."""
    return bundle.method == method.key or bundle.name in method.weights_when


def bundle_title(bundle) -> str:
    """Return name and version, and what has to be said wherever weights are offered."""
    virtual = _("{name} {version}, trained on virtual patients")
    text = virtual if bundle.trained_on_virtual_patients else "{name} {version}"
    return text.format(name=bundle.name, version=bundle.version)


def card_html(bundle) -> str:
    """Return the model card, for people."""
    told = {title: bundle.metadata[key] for key, title in CARD.items()}
    told |= {title: bundle.metadata["training"][key] for key, title in TRAINING.items()}
    heading = html.escape(bundle_title(bundle))
    return f"<b>{heading}</b><p>{html.escape(bundle.id)}</p>{as_list(told)}"


def as_list(content) -> str:
    """Return what a card says as nested lists; keys read as words."""
    if isinstance(content, dict):
        items = [f"{html.escape(words(key))}: {as_list(value)}" for key, value in content.items()]
    elif isinstance(content, (list, tuple)):
        items = [as_list(value) for value in content]
    else:
        return html.escape(str(content))
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def words(key) -> str:
    """Return a key of a card as words."""
    return str(key).replace("_", " ")
