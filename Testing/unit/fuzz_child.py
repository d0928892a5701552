"""A process that reads one file after the other for ``test_fuzz.py`` and says how each went.

Each line of stdin is a kind and a path as JSON; each line of stdout the outcome: ``read``,
``refused`` or ``fault``, what it was, and how much memory it took. Memory is limited, and a crash
is one of this process only.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import resource
import sys
import traceback
from pathlib import Path

import numpy as np

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.files.images import read_any_volume
from ContrastSynthLib.files.series import holds_series, read_series
from ContrastSynthLib.running.batch.table import read_cases

MEMORY_BYTES = 256 << 20


def check_volume(volume) -> str:
    """Return the hash of a volume's voxels; AssertionError unless it is what methods may expect."""
    assert np.isfinite(volume.array).all()
    assert 0.01 <= min(volume.grid.spacing_mm) <= max(volume.grid.spacing_mm) <= 100
    axes = np.reshape(volume.grid.direction, (3, 3))
    assert np.abs(axes.T @ axes - np.eye(3)).max() <= 1e-4
    assert all(
        np.isfinite(v) for v in volume.acquisition.known().values() if not isinstance(v, str)
    )
    assert all(note.isprintable() or "\n" in note for note in volume.notes)
    return hashlib.sha256(volume.array.tobytes()).hexdigest()


def read_image(path: Path) -> str:
    if holds_series(path):
        for volume in read_series(path, [0.0, 85.0]):
            check_volume(volume)
        return ""
    return check_volume(read_any_volume(path))


def run_command(*arguments: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(arguments)
    if code not in (0, 2, 3):
        raise AssertionError(f"exit code {code}: {said.getvalue()[:300]}")
    if code:
        raise ContrastSynthError(said.getvalue()[:300])
    return ""


def read_weights(path: Path) -> str:
    run_command("weights", "import", str(path))
    return run_command("weights", "list")


READ = {
    "image": read_image,
    "series": read_image,
    "dicom": read_image,
    "table": lambda path: str(len(read_cases(path, "physics_dose"))),
    "provenance": lambda path: run_command("history", str(path), "--json"),
    "weights": read_weights,
}


def memory_bytes(name: str) -> int:
    """Return VmHWM, the most there was, or VmRSS, what there is, of this process; 0 elsewhere."""
    try:
        text = Path("/proc/self/status").read_text("ascii")
    except OSError:
        return 0
    return int(text.split(f"{name}:")[1].split()[0]) * 1024


def limit_memory() -> None:
    """Let this process have little more memory than it has now."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def outcome(kind: str, path: Path) -> tuple[str, str]:
    try:
        return "read", READ[kind](path)
    except ContrastSynthError as error:
        return "refused", str(error)
    except BaseException:
        return "fault", traceback.format_exc()


def serve() -> None:
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for folder in map(Path, sys.argv[1:]):  # everything that is imported late
        for path in sorted(folder.iterdir()):
            kind, _, name = path.name.partition("-")
            outcome(kind, path if name == "" else path / name)
    limit_memory()
    print("ready", file=stdout, flush=True)
    for line in sys.stdin:
        kind, path = json.loads(line)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", "ascii")
        before = memory_bytes("VmRSS")
        result = outcome(kind, Path(path))
        grown = memory_bytes("VmHWM") - before
        print(json.dumps([*result, grown]), file=stdout, flush=True)


if __name__ == "__main__":
    serve()
