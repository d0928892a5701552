"""Forms that fit into a narrow panel, and the small widgets that they are made of."""

import ctk
import qt

from ContrastSynthPanel.widgets.manners import needs_focus

LABEL_LETTERS = 21
NARROW = 340  # pixels that a narrow panel leaves for its content


def new_form(widget):
    """Return a form layout for ``widget`` whose fields take what its labels leave."""
    form = qt.QFormLayout(widget)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(qt.QFormLayout.AllNonFixedFieldsGrow)
    form.setLabelAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)
    return form


def add_row(form, title: str, field):
    """Add a widget or a layout under a title; return the label, which wraps rather than pushes.

    All labels are of one width, so that what is below one another in several forms lines up.
    """
    label = qt.QLabel(title)
    label.wordWrap = True
    width = LABEL_LETTERS * label.fontMetrics().averageCharWidth()
    label.setFixedWidth(width)
    label.setMinimumHeight(max(0, label.heightForWidth(width)))  # -1 without a text
    form.addRow(label, field)
    return label


def show_text(label, text: str) -> None:
    """Show a text in a label that wraps, with room for all of it; without one, no label."""
    label.text = text
    label.setMinimumHeight(label.heightForWidth(NARROW) if text else 0)
    label.visible = bool(text)


def long_text():
    """Return a label for paragraphs: it wraps, and asks for no width of its own."""
    label = qt.QLabel()
    label.wordWrap = True
    policy = qt.QSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
    policy.setHeightForWidth(True)
    label.setSizePolicy(policy)
    return label


def let_shrink(widget):
    """Let a widget get narrower than the longest text in it, and return it."""
    widget.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
    return widget


def new_section(title: str, content=None):
    """Return a section that can be collapsed, with a widget in it."""
    section = ctk.ctkCollapsibleButton()
    section.text = title
    # By itself it would never be narrower than its content would like to be.
    section.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
    layout = qt.QVBoxLayout(section)
    if content is not None:
        layout.addWidget(content)
    return section


def combo(name: str, entries: dict):
    """Return a list of choices, key to title."""
    made = empty_combo(name)
    for key, title in entries.items():
        add_choice(made, title, key)
    return made


def empty_combo(name: str):
    """Return a list without choices, which the wheel leaves alone until it has the focus."""
    made = needs_focus(let_shrink(qt.QComboBox()))
    made.objectName = name
    return made


def add_choice(box, title: str, key, tip: str = "") -> None:
    """Add a choice to a list; its tooltip is by default the title, which may be cut off."""
    box.addItem(title, key)
    box.setItemData(box.count - 1, tip or title, qt.Qt.ToolTipRole)


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
    return take_numbers(made)


def take_numbers(made):
    """Let a slider take a typed number when it is whole, not at each key; return the slider."""
    for box in made.findChildren("QAbstractSpinBox"):
        typed_whole(box)
    for bar in made.findChildren("QSlider"):
        needs_focus(bar)
    return made


def typed_whole(box):
    """Let a box of a number tell it when it is typed, not at each key; return the box."""
    box.keyboardTracking = False
    return needs_focus(box)


def value_of(made) -> float:
    """Return the number that a slider shows, without what is left of its steps: 0.7 is 0.7."""
    return round(float(made.value), made.decimals)
