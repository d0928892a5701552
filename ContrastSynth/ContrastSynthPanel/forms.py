"""Forms that fit into a narrow panel."""

import ctk
import qt

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


def let_shrink(widget):
    """Let a widget get narrower than the longest text in it, and return it."""
    widget.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
    return widget


def new_section(title: str, content):
    """Return a section that can be collapsed, with a widget in it."""
    section = ctk.ctkCollapsibleButton()
    section.text = title
    qt.QVBoxLayout(section).addWidget(content)
    return section
