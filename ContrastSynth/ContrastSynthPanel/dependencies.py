"""Python packages that Slicer does not bring: which are missing, and how they get in.

Nothing is installed before the user asks for it and agrees. torch comes through Slicer's PyTorch
extension, which knows the driver; numpy, SimpleITK and the other packages that Slicer itself
stands on keep their versions.
"""

import importlib
import subprocess
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.requirements import REQUIREMENTS, requirement_name

TORCH = "torch"
KEPT = ("numpy", "scipy", "SimpleITK", TORCH, "torchvision")
"""What pip may not change while it installs something else."""


def lacking(*groups: str) -> list[str]:
    """Return the requirements of these groups that are not installed, or too old."""
    wanted = dict.fromkeys(one for group in groups for one in REQUIREMENTS[group])
    return [one for one in wanted if not _satisfied(one)]


def names(requirements: list[str]) -> str:
    """Return the names of packages as a text."""
    return ", ".join(requirement_name(one) for one in requirements)


def install(requirements: list[str]) -> None:
    """Install into Slicer's Python, after asking. MissingError says why something is not there."""
    torch = [one for one in requirements if requirement_name(one) == TORCH]
    others = [one for one in requirements if one not in torch]
    if torch:  # first: pip would bring one for MONAI that knows nothing of the driver
        _install_torch(torch[0].removeprefix(TORCH))
        importlib.invalidate_caches()
    if others:
        _install_others(others)
    importlib.invalidate_caches()
    if left := [one for one in requirements if not _satisfied(one)]:
        text = _("{names}: not there yet. Restart Slicer; if that does not help, see its log.")
        raise MissingError(text.format(names=names(left)))


def _satisfied(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        # An own build of a release, such as 2.9.0a0+git, is good enough.
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _install_torch(version_wanted: str) -> None:
    try:
        import PyTorchUtils
    except ImportError:
        raise MissingError(
            _(
                "torch is installed by the extension 'PyTorch', which is not there. Install that "
                "extension in Slicer's Extensions Manager, restart Slicer, and press Install again."
            )
        ) from None
    logic = PyTorchUtils.PyTorchUtilsLogic()
    try:
        done = logic.installTorch(askConfirmation=True, torchVersionRequirement=version_wanted)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        raise _failed(TORCH, error) from error
    if done is None:
        raise _declined(TORCH)


def _install_others(requirements: list[str]) -> None:
    """Ask once for all of them. Slicer before 5.11 has no function that asks, so we do."""
    with tempfile.TemporaryDirectory(dir=slicer.app.temporaryPath) as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_kept_versions(requirements)) + "\n", encoding="utf-8")
        try:
            _pip(requirements, constraints)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            declined = "declined" in str(error)  # there is no class of its own for it
            text = _declined(names(requirements)) if declined else None
            raise text or _failed(names(requirements), error) from error


def _pip(requirements: list[str], constraints: Path) -> None:
    """Raise RuntimeError where the user does not want it, as Slicer's own function does."""
    from packaging.requirements import Requirement

    try:
        from slicer.packaging import pip_ensure
    except ImportError:
        asked = _("Install {names} into Slicer's Python?").format(names=", ".join(requirements))
        if not slicer.util.confirmOkCancelDisplay(asked, "ContrastSynth"):
            raise RuntimeError("declined") from None
        with slicer.util.WaitCursor():
            slicer.util.pip_install(["--constraint", str(constraints), *requirements])
        return
    wanted = [Requirement(one) for one in requirements]
    pip_ensure(wanted, constraints=str(constraints), requester="ContrastSynth")


def _kept_versions(requirements: list[str]) -> list[str]:
    changing = {requirement_name(one) for one in requirements}
    kept = []
    for name in KEPT:
        with suppress(PackageNotFoundError):
            kept += [f"{name}=={version(name)}"] if name not in changing else []
    return kept


def _declined(what: str) -> MissingError:
    text = _("{names}: not installed. What does not need it works as before.")
    return MissingError(text.format(names=what))


def _failed(what: str, error: Exception) -> MissingError:
    text = _("{names} could not be installed: {error}. Slicer's Python console shows why.")
    return MissingError(text.format(names=what, error=str(error).rstrip(".")))
