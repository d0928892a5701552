"""A second button: run the method, and then the one that goes on with its result."""

from slicer.i18n import tr as _

from ContrastSynthPanel.widgets.action import Action


class ThenBox:
    """A button, seen where another method goes on with the result of the chosen one.

    ``pressed`` starts the first run and calls ``waits_for``; when that is over, ``take`` returns
    the method that is next, and ``made`` are the nodes of the first result by role.
    """

    def __init__(self, pressed):
        """Make the button."""
        ready = _("Run the method, and then the other one on its result and the same scans.")
        self._action = Action("apply both", "", ready, pressed)
        self.widget, self.button = self._action.widget, self._action.button
        self._next, self.made = None, {}

    def set_method(self, method) -> None:
        """Offer what goes on with the result of a method."""
        self.widget.visible = method.next is not None
        if method.next is not None:
            self.button.text = _("Apply, then: {title}").format(title=method.next.title)

    def block(self, reason: str) -> None:
        """Grey the button out where Apply is, which says why."""
        self._action.busy(reason)

    def waits_for(self, method) -> None:
        """A run of a method is under way, whose result is to go on; or none is."""
        self._next, self.made = None if method is None else method.next, {}

    def was_made(self, nodes: dict) -> None:
        """A result is in the scene, by role."""
        self.made = dict(nodes)

    def take(self):
        """Return the method that is next, once, if what it goes on with was made."""
        following, self._next = self._next, None
        return following if self.made else None
