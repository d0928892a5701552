"""Where a table is written: a dialog that proposes a name which a file can have."""

from pathlib import Path

import qt
import slicer


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
