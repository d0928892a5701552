"""Whether the result is previewed in the slice views while a parameter is changed."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene.slice_preview import SlicePreview, previewed_output
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.slots import connect, once_after


class PreviewBox:
    """A check box, a line of text, and the preview itself."""

    def __init__(self, show, changed):
        """Make it; ``show`` is called when a preview is wanted, ``changed`` when it is or not."""
        self._show, self._changed, self._echo = show, changed, Echo()
        self.widget, self.box, self.label = qt.QWidget(), qt.QCheckBox(), qt.QLabel()
        self.box.objectName = "preview"
        self.box.text = _("Preview in the slice views")
        self.box.toolTip = _(
            "Shows the result on the slices in view while a parameter is changed. It is computed "
            "anew each time and never saved."
        )
        self.box.checked = True
        self.label.wordWrap = True
        self.label.hide()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.box)
        column.addWidget(self.label)
        self.shown = SlicePreview(self.show_text, once_after)
        connect(self.box, "toggled(bool)", self._toggled)

    @property
    def wanted(self) -> bool:
        """Whether previews are wanted."""
        return bool(self.box.checked)

    @wanted.setter
    def wanted(self, wanted: bool) -> None:
        with self._echo:
            self.box.checked = wanted

    def set_method(self, method) -> None:
        """Offer it for methods that can be previewed."""
        self.end()
        self.show_text("")
        self.widget.visible = previewed_output(method) is not None

    def show(self, method, nodes: dict, values, moved: str) -> None:
        """Show what a method makes of nodes by role, unless ``moved`` says that they are moved."""
        if not self.wanted or previewed_output(method) is None:
            return
        if moved:
            self.end()
            self.show_text(_("No preview: {reason}").format(reason=moved))
            return
        self.shown.show(method, nodes, values)

    def keep_if_of(self, method, nodes: dict, moved: str) -> None:
        """End it unless it is of this method and of these nodes, as they are now."""
        if moved:
            self.end()
        self.shown.keep_if_of(method, nodes)

    def end(self) -> None:
        """Take the preview away."""
        self.shown.end()

    def show_text(self, text: str) -> None:
        """Say how the preview goes."""
        self.label.text = text
        self.label.visible = bool(text)

    def _toggled(self, wanted: bool) -> None:
        if self._echo:
            return
        if wanted:
            self._show()
        else:
            self.end()
        self._changed()
