"""What slicer-core leaves out of ``slicer`` and a panel needs: i18n, packaging, dialogs."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
import slicer.util

from .record import record

KINDS = {logging.ERROR: "error", logging.WARNING: "warning", logging.INFO: "info"}


def add_submodule(name: str, **content: Any) -> ModuleType:
    """Make ``slicer.name`` importable."""
    module = ModuleType(f"slicer.{name}", "A stand-in (a test host).")
    vars(module).update(content)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)
    return module


def tr(text: str, context: str = "") -> str:
    """Return the text untranslated."""
    if not isinstance(text, str):
        raise TypeError(f"tr({text!r}): a text is wanted")
    return text


def translate(context: str, text: str) -> str:
    """Return the text untranslated."""
    return tr(text, context)


def installed(requirements: Any, *_arguments: Any, **keywords: Any) -> None:
    """Stand in for what installs Python packages: note which, install nothing.

    As in Slicer, ``pip_ensure`` asks first unless asked otherwise; "no" raises.
    """
    wanted = [requirements] if isinstance(requirements, str) else [str(one) for one in requirements]
    record.installed.append(wanted)


def pip_ensure(
    requirements: Any,
    constraints: Any = None,
    prompt_install: bool = True,
    requester: str | None = None,
) -> None:
    """Ask the test, then note what would be installed, and what the constraints file says."""
    wanted = [requirements] if isinstance(requirements, str) else [str(one) for one in requirements]
    question = f"{requester}: install {', '.join(wanted)}?"
    if prompt_install and not record.ask("question", question, "pip_ensure"):
        raise RuntimeError("User declined package installation")
    installed(wanted)
    if constraints is not None:
        record.constraints += Path(constraints).read_text(encoding="utf-8").split()


class SampleDataLogic:
    """What a module registers sample data with; the sources are kept in the record."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: Any = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: Any = None,
        loadFileType: Any = "VolumeFile",
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
    ) -> None:
        several = [[one] if isinstance(one, str) else one for one in (uris, fileNames, nodeNames)]
        if not sampleName or len({len(one) for one in several}) != 1:
            raise ValueError(f"a sample needs a name, and as many URIs as files and nodes: {uris}")
        record.samples.append(
            {
                "category": category,
                "sampleName": sampleName,
                "uris": uris,
                "customDownloader": customDownloader,
                "thumbnailFileName": thumbnailFileName,
            }
        )


class PyTorchUtilsLogic:
    """Slicer's PyTorch extension, when the test says that it is there."""

    def torchInstalled(self) -> bool:
        return False

    def installTorch(self, askConfirmation: bool = False, **keywords: Any) -> Any:
        if askConfirmation and not record.ask("question", "Install PyTorch?", "PyTorch"):
            return None
        installed(f"torch{keywords.get('torchVersionRequirement') or ''}")
        return ModuleType("torch")


def message_display(
    level: int,
    text: str,
    testing_value: Any,
    mainWindowNeeded: bool = False,
    parent: Any = None,
    windowTitle: Any = None,
    **keywords: Any,
) -> Any:
    """Stand in for ``slicer.util._messageDisplay``, through which all its dialogs go."""
    if not isinstance(text, str):
        raise TypeError(f"a dialog says a text, not {text!r}")
    logging.log(level, text)
    title, details = windowTitle or "", keywords.get("detailedText", "")
    if testing_value is None:
        record.show(KINDS[level], text, title, details)
        return None
    return buttons(keywords["standardButtons"], record.ask("question", text, title, details))


def buttons(offered: int, answer: Any) -> int:
    """Return the button that a yes or no presses, of Ok/Cancel, Yes/No or Retry/Close."""
    import qt

    box = qt.QMessageBox
    yes = next(one for one in (box.Ok, box.Yes, box.Retry) if offered & one)
    no = next(one for one in (box.Cancel, box.No, box.Close) if offered & one)
    return yes if answer else no


def message_box(text: str, parent: Any = None, **keywords: Any) -> Any:
    """Stand in for ``slicer.util.messageBox``: returns the test's answer."""
    details = keywords.get("detailedText", "")
    return record.ask("question", text, keywords.get("windowTitle", ""), details)


def install() -> None:
    """Complete the module ``slicer`` with all that needs no scene."""
    from . import application, qmrml, scripted

    add_submodule("i18n", tr=tr, translate=translate, getContext=lambda name: name)
    add_submodule(
        "packaging",
        pip_install=installed,
        pip_uninstall=installed,
        pip_ensure=pip_ensure,
        pip_check=lambda requirements: False,
    )
    sys.modules["slicer.ScriptedLoadableModule"] = slicer.ScriptedLoadableModule = scripted
    for module in (qmrml, application):
        for name, kind in vars(module).items():
            if name.startswith(("qMRML", "qSlicer")):
                setattr(slicer, name, kind)
    sys.modules["SampleData"] = ModuleType("SampleData")
    sys.modules["SampleData"].SampleDataLogic = SampleDataLogic
    slicer.util._messageDisplay, slicer.util.messageBox = message_display, message_box
