"""Small widgets that several tabs are made of."""

import ctk
import qt

from ContrastSynthPanel.forms import let_shrink


def section(title: str, content):
    """Return a section that can be collapsed."""
    made = ctk.ctkCollapsibleButton()
    made.text = title
    qt.QVBoxLayout(made).addWidget(content)
    return made


def combo(name: str, entries: dict):
    """Return a list of choices, key to title."""
    made = let_shrink(qt.QComboBox())
    made.objectName = name
    for key, title in entries.items():
        made.addItem(title, key)
    return made


def chosen(box) -> str:
    """Return the key of the choice of a list."""
    return box.itemData(box.currentIndex)


def choose(box, key) -> None:
    """Choose by its key, if there is such a choice."""
    if (index := box.findData(key)) >= 0:
        box.setCurrentIndex(index)


def slider(name: str, low: float, high: float, step: float):
    """Return a slider of a range, with as many decimals as its step has."""
    made = ctk.ctkSliderWidget()
    made.objectName = name
    made.decimals = len(f"{step:g}".partition(".")[2])
    made.minimum, made.maximum = low, high
    made.singleStep = made.pageStep = step
    return made
