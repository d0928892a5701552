"""The list of methods, and what is said of the one that is chosen."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.registry import METHODS, TASKS
from ContrastSynthPanel.widgets.device_box import ITEM_FLAGS_ROLE
from ContrastSynthPanel.widgets.forms import add_choice, empty_combo


def method_combo():
    """Return a list of all methods by their titles, under the titles of their tasks."""
    combo = empty_combo("method")
    bold = qt.QFont()
    bold.setBold(True)
    for task, title in TASKS.items():
        group = [method for method in METHODS.values() if method.task == task]
        group.sort(key=lambda method: not method.recommended)
        if group:
            combo.addItem(title)
            combo.setItemData(combo.count - 1, bold, qt.Qt.FontRole)
            combo.setItemData(combo.count - 1, 0, ITEM_FLAGS_ROLE)
        for method in group:
            tip = f"{method.title}\n{method.intended_use}"
            add_choice(combo, method.title, method.key, tip)
    combo.setCurrentIndex(1)
    return combo


def about(method) -> str:
    """Return what a method is meant for, and what it needs."""
    titles = [given.title for given in method.inputs.values() if not given.optional]
    optional = [given.title for given in method.inputs.values() if given.optional]
    others = sum(one.task == method.task for one in METHODS.values()) > 1
    first = [_("Recommended to begin with.")] if method.recommended and others else []
    lines = [*first, method.intended_use, _("Needs: {titles}.").format(titles="; ".join(titles))]
    if optional:
        lines[-1] += " " + _("Optional: {titles}.").format(titles="; ".join(optional))
    if method.needs_torch:
        lines[-1] += " " + _("Computes with PyTorch.")
    return "\n".join(lines)
