"""A table is saved: a dialog that proposes a name which a file can have, and what became of it."""

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError

SAVED = _("Saved as {path}.")


def save_as_csv(title: str, name: str, write, say, saved: str = SAVED) -> None:
    """Ask where, call ``write`` with the path, and ``say`` with a kind and a text how it went.

    ``write`` raises ContrastSynthError where it cannot. Where a person chose none, nothing is said.
    """
    path = ask_where(title, name)
    if path is None:
        return
    try:
        write(path)
    except ContrastSynthError as error:
        say("failed", str(error))
    else:
        say("done", saved.format(path=path))


def ask_where(title: str, name: str) -> Path | None:
    """Return the file that a person chose for a CSV, with its suffix; None for none."""
    path = qt.QFileDialog.getSaveFileName(
        slicer.util.mainWindow(), title, f"{file_name(name)}.csv", "CSV (*.csv)"
    )
    if not path:
        return None
    return Path(path) if Path(path).suffix else Path(f"{path}.csv")


def file_name(text: str) -> str:
    """Return a text as any system takes it for a file's name."""
    return "".join(c if c.isalnum() or c in " -_,()" else "_" for c in text)
