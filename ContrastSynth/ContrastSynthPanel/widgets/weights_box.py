"""The weights that a method can run with, their training data, and their model card."""

import html
from contextlib import suppress
from pathlib import Path

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError, MissingError, without_options
from ContrastSynthLib.registry import METHODS, Method, choose_bundles
from ContrastSynthLib.registry.bundles import fits, serves
from ContrastSynthLib.weights.bundles import METADATA, RENAMED, shipped_and_imported
from ContrastSynthLib.weights.storage import import_bundle
from ContrastSynthPanel.widgets.forms import add_choice, chosen, empty_combo
from ContrastSynthPanel.widgets.slots import connect

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
    """A list of weights for each network that a run needs; hidden for methods that have none.

    ``wanted`` holds, by network, the ids that a person chose in place of the method's own. Which
    weights a run takes is decided by ``choose_bundles``, as for the run itself.
    """

    def __init__(self, changed, show_message):
        """Make the box; ``changed`` is called when the user chooses other weights.

        ``show_message`` is called with a kind and a text about an import.
        """
        self._show_message = show_message
        self.widget = qt.QWidget()
        self._changed, self._method = changed, None
        self.wanted, self._saved, self._needed = {}, None, {}
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.card_button = qt.QPushButton(_("Model card"))
        self.card_button.objectName = "card"
        self.card_button.checkable = True
        row = qt.QHBoxLayout()
        row.addWidget(qt.QLabel(_("Weights")), 1)
        self.import_button = qt.QPushButton(_("Import..."))
        self.import_button.objectName = "import"
        self.import_button.toolTip = _(
            "Copy weights that you were given, a .zip or the folder with a metadata.json, to the "
            "others on this machine."
        )
        connect(self.import_button, "clicked(bool)", self._import)
        row.addWidget(self.import_button)
        row.addWidget(self.card_button)
        column.addLayout(row)
        self._lists, self.combos = qt.QWidget(), {}
        column.addWidget(self._lists)
        self.label = qt.QLabel()
        self.label.wordWrap = True
        column.addWidget(self.label)
        self.card = qt.QTextBrowser()
        self.card.setFixedHeight(CARD_HEIGHT)
        self.card.hide()
        column.addWidget(self.card)
        connect(self.card_button, "toggled(bool)", self.card.setVisible)

    def set_method(self, method: Method) -> None:
        """Offer the weights of another method."""
        self._method, self.wanted, self._saved = method, {}, None
        self.widget.visible = bool(method.networks)
        self._offer({})

    @property
    def chosen(self) -> dict | None:
        """The ids that a person chose, by the networks that a run needs; None for none."""
        return {name: one for name, one in self.wanted.items() if name in self._needed} or None

    def restore(self, saved) -> None:
        """Choose saved weights, by network, or one id as older scenes have it.

        What is not on this machine is left out.
        """
        there = {bundle.id for bundle in shipped_and_imported()}
        if isinstance(saved, str):
            saved = RENAMED.get(saved, saved)
            self.wanted, self._saved = {}, saved if saved in there else None
        else:
            present = {name: RENAMED.get(one, one) for name, one in (saved or {}).items()}
            self.wanted = {name: one for name, one in present.items() if one in there}
        self._offer({})

    def missing(self, values) -> str:
        """Show which weights a run with these parameters takes; return why it cannot, if so."""
        needed = self._method.networks_for(values)
        self._take_saved(values, needed)
        if needed != self._needed:
            self._offer(needed)
        used, missing = [], ""
        try:
            used = list(choose_bundles(self._method, values, self.chosen, verify=False).values())
            titles = "; ".join(dict.fromkeys(bundle_title(bundle) for bundle in used))
            text = _("Used: {titles}.").format(titles=titles) if used else _("None are used.")
        except MissingError:
            text = missing = self._absent(needed)
        except ContrastSynthError as error:
            text = missing = without_options(str(error))
        self.label.text = text
        self.card.setHtml("<hr>".join(card_html(bundle) for bundle in used))
        self.card_button.enabled = bool(used)
        return missing

    def _absent(self, needed: dict) -> str:
        """Return which weights are not on this machine, and what to do."""
        there = {name for b in shipped_and_imported() for name in (b.name, b.id)}
        asked = [self.wanted.get(network, own) for network, own in needed.items()]
        names = ", ".join(f"'{name}'" for name in asked if name not in there)
        text = _("The weights {names} are not on this machine.").format(names=names)
        if any(network.when for network in self._method.networks.values()):
            return text + " " + _("Import them, or choose parameters that need none.")
        return text + " " + _("Import them.")

    def _take_saved(self, values, needed: dict) -> None:
        """Find the networks of an id that was saved without them."""
        if self._saved is None or not needed:
            return
        saved, self._saved = self._saved, None
        with suppress(ContrastSynthError):
            found = choose_bundles(self._method, values, saved, verify=False)
            self.wanted = {name: saved for name, one in found.items() if one.id == saved}
            self._needed = {}

    def _offer(self, needed: dict) -> None:
        """List the weights of each network, each list in a row of its own: nothing is cut off."""
        self._needed = dict(needed)
        old, self._lists, self.combos = self._lists, qt.QWidget(), {}
        column = qt.QVBoxLayout(self._lists)
        column.setContentsMargins(0, 0, 0, 0)
        bundles = [bundle for bundle in shipped_and_imported() if fits(bundle, self._method)]
        for network in needed:
            if len(needed) > 1:
                column.addWidget(qt.QLabel(_("Network {name}").format(name=network)))
            column.addWidget(self._list(network, bundles))
        self.widget.layout().replaceWidget(old, self._lists)
        old.hide()
        old.deleteLater()
        if self.widget.visible:
            self._lists.show()

    def _list(self, network: str, bundles):
        """Return a list of the weights of a network."""
        made = self.combos[network] = empty_combo(f"weights {network}")
        add_choice(made, _("The method's own"), "")
        for bundle in bundles:
            if serves(bundle, self._method, network):
                title = bundle_title(bundle)
                add_choice(made, title, bundle.id, f"{title}\n{bundle.id}")
        made.setCurrentIndex(max(0, made.findData(self.wanted.get(network, ""))))
        connect(made, "currentIndexChanged(int)", lambda _n: self._chosen(network))
        return made

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
            self._show_message("failed", str(error))
            return
        text = _("Imported: {title}.").format(title=bundle_title(bundle))
        if fits(bundle, self._method):
            for network in self._needed:
                if serves(bundle, self._method, network):
                    self.wanted[network] = bundle.id
        else:
            title = METHODS[bundle.method].title if bundle.method in METHODS else bundle.method
            text += " " + _("They belong to the method '{title}'.").format(title=title)
        self._offer(self._needed)
        self._show_message("done", text)
        self._changed()

    def _chosen(self, network: str) -> None:
        self.wanted[network] = chosen(self.combos[network])
        if not self.wanted[network]:
            del self.wanted[network]
        self._changed()


def bundle_title(bundle) -> str:
    """Return name and version, and what has to be said wherever weights are offered."""
    text = "{name} {version}"
    if bundle.trained_on_virtual_patients:
        text = _("{name} {version}, trained on virtual patients")
        if bundle.real_patients:
            text = _("{name} {version}, of {real} real and virtual patients")
    return text.format(name=bundle.name, version=bundle.version, real=bundle.real_patients)


def card_html(bundle) -> str:
    """Return the model card, for people."""
    card = {title: bundle.metadata[key] for key, title in CARD.items()}
    card |= {title: bundle.metadata["training"][key] for key, title in TRAINING.items()}
    heading = html.escape(bundle_title(bundle))
    return f"<b>{heading}</b><p>{html.escape(bundle.id)}</p>{as_list(card)}"


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
