"""How a panel looks: a dark or light theme, another language, to an eye without green cones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

# How much red, green and blue (linear) an eye without green cones takes from each, at full
# severity: Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of
# color vision deficiency", IEEE Transactions on Visualization and Computer Graphics, 2009.
DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
DARK = {
    "Window": "#323232",
    "WindowText": "#ffffff",
    "Base": "#242424",
    "AlternateBase": "#323232",
    "Text": "#ffffff",
    "Button": "#323232",
    "ButtonText": "#ffffff",
    "ToolTipBase": "#323232",
    "ToolTipText": "#ffffff",
    "Link": "#5ab0f0",
    "Highlight": "#2a82da",
    "HighlightedText": "#000000",
}
LIGHT = {
    "Window": "#efefef",
    "WindowText": "#000000",
    "Base": "#ffffff",
    "AlternateBase": "#f7f7f7",
    "Text": "#000000",
    "Button": "#efefef",
    "ButtonText": "#000000",
    "ToolTipBase": "#ffffdc",
    "ToolTipText": "#000000",
    "Link": "#0000ff",
    "Highlight": "#308cc6",
    "HighlightedText": "#ffffff",
}
_before: dict[str, Any] = {}  # theme and language before a test changed them


def set_theme(dark: bool) -> None:
    """Switch to the dark or the light theme while widgets are open, until the next test."""
    import qt

    from .person import settle

    _before.setdefault("palette", qt.QApplication.palette())
    palette = qt.QPalette()
    for role, colour in (DARK if dark else LIGHT).items():
        palette.setColor(getattr(qt.QPalette, role), qt.QColor(colour))
    grey = qt.QColor("#808080")
    for role in ("WindowText", "Text", "ButtonText"):
        palette.setColor(qt.QPalette.Disabled, getattr(qt.QPalette, role), grey)
    qt.QApplication.setPalette(palette)
    settle()


def set_locale(name: str) -> None:
    """Write numbers as in another language ("de_DE", "C") in widgets made from now on.

    As Slicer's own switch of the language, it changes no widget that is there already. It ends
    with the test.
    """
    import qt

    _before.setdefault("locale", qt.QLocale())
    qt.QLocale.setDefault(qt.QLocale(name))


def restore() -> None:
    """Go back to the theme and the language before the test."""
    import qt

    if "palette" in _before:
        qt.QApplication.setPalette(_before.pop("palette"))
    if "locale" in _before:
        qt.QLocale.setDefault(_before.pop("locale"))


def colour_blind(path: Path | str, into: Path | str | None = None) -> np.ndarray:
    """Return a PNG file as an eye without green cones sees it (deuteranopia), as RGB in uint8.

    ``into`` is a PNG file to write it to.
    """
    from .slices import read_png, write_png

    part = read_png(Path(path)) / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ DEUTERANOPIA.T, 0.0, 1.0)
    part = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    picture = np.round(part * 255.0).astype(np.uint8)
    if into is not None:
        write_png(picture, Path(into))
    return picture
