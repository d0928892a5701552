"""What a method computes on. Which devices there are is looked up only when one opens the box."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.running import devices
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import add_choice, chosen, combo, new_section
from ContrastSynthPanel.widgets.slots import connect

TITLES = {
    "auto": _("Automatic: a GPU if there is one"),
    "cpu": _("CPU"),
    "cuda": _("NVIDIA GPU"),
    "mps": _("Apple GPU"),
}
ITEM_FLAGS_ROLE = qt.Qt.UserRole - 1  # where a combo box keeps whether an entry can be chosen


class DeviceBox:
    """A closed section. Opening it imports torch, which takes seconds and may be missing."""

    def __init__(self, changed):
        """Make the section; ``changed`` is called when the user chooses another device."""
        self._changed, self._echo, self._listed = changed, Echo(), False
        self.combo = combo("device", {device: TITLES[device] for device in ("auto", "cpu")})
        self.widget, self.label = new_section(_("Device"), self.combo), qt.QLabel()
        self.widget.objectName = "device section"
        self.label.wordWrap = True
        self.widget.layout().addWidget(self.label)
        self.widget.collapsed = True
        connect(self.combo, "currentIndexChanged(int)", self._chosen)
        connect(self.widget, "contentsCollapsed(bool)", self._opened)

    @property
    def chosen(self) -> str:
        """The chosen device, as a request names it."""
        return chosen(self.combo)

    def restore(self, device: str) -> None:
        """Choose a saved device; whether it can be used here is seen when the box is opened."""
        with self._echo:
            if self.combo.findData(device) < 0:
                add_choice(self.combo, device_title(device), device)
            self.combo.setCurrentIndex(self.combo.findData(device))

    def _opened(self, collapsed: bool) -> None:
        if collapsed or self._listed:
            return
        self._listed = True
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            found = devices.list_devices()
        except Exception as error:  # a torch that is there and broken
            self.label.text = _("The devices could not be listed: {error}").format(error=error)
            return
        finally:
            qt.QApplication.restoreOverrideCursor()
        with self._echo:
            for entry in found:
                self._offer(entry)
        reasons = [
            f"{device_title(entry['device'])}: {entry['reason']}"
            for entry in found
            if not entry["usable"]
        ]
        self.label.text = "\n".join(reasons)

    def _offer(self, entry: dict) -> None:
        device, named = entry["device"], entry.get("name")
        title = f"{device_title(device)}: {named}" if named else device_title(device)
        if self.combo.findData(device) < 0:
            add_choice(self.combo, title, device)
        index = self.combo.findData(device)
        self.combo.setItemText(index, title)
        self.combo.setItemData(index, title, qt.Qt.ToolTipRole)
        if not entry["usable"]:
            self.combo.setItemText(index, _("{title} (cannot be used)").format(title=title))
            self.combo.setItemData(index, str(entry["reason"]), qt.Qt.ToolTipRole)
            self.combo.setItemData(index, 0, ITEM_FLAGS_ROLE)

    def _chosen(self, *_signal) -> None:
        if not self._echo:
            self._changed()


def device_title(device: str) -> str:
    """Return what a device is called; the number counts from 1 where it is not the first."""
    kind, _colon, number = device.partition(":")
    title = TITLES.get(kind, device)
    return f"{title} {int(number) + 1}" if number.isdigit() and int(number) else title
