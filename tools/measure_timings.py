"""Measure how long each method takes and how much memory: writes Resources/Timings.json.

Every method runs from the command line, as the panel runs it, on one core of the CPU, with its
defaults and with each preset, on two stacks of slices of a virtual patient. The CPU time and the
largest memory of the process are what is measured, so that other work on the machine hardly
counts; from the two stacks come what a run costs in any case and what each voxel adds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ContrastSynthLib.methods  # noqa: F401 - declares them
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.phantom.sample import SamplePatient, sample_patient
from ContrastSynthLib.registry import METHODS, Method, resolve_parameters
from ContrastSynthLib.registry.volumes import PHASE_ROLE
from ContrastSynthLib.running.estimate import SCHEMA_VERSION, timing_parameters
from ContrastSynthLib.running.result import PROVENANCE

FILE = Path(__file__).resolve().parents[1] / "Resources" / "Timings.json"
IN_PLANE, OF_BREASTS = (192, 228), (128, 152)
"""Pixels of a slice: of 1 mm, and of 1.5 mm for what sees no finer ones."""
FEW_SLICES = 4
MORE_SLICES = ((8.0, 96), (20.0, 48), (float("inf"), 12))
"""How many slices the second stack has, by the seconds that the first one took at most. Fewer than
96 are thick, and what runs in three directions would run in one."""


def main() -> int:
    """Measure all methods, or those named, and keep the rest of the file as it is."""
    named = sys.argv[1:] or list(METHODS)
    kept = json.loads(FILE.read_text(encoding="utf-8"))["timings"] if FILE.is_file() else []
    timings = [entry for entry in kept if entry["method"] not in named]
    for key in named:
        method = METHODS[key]
        for values, preset in _variants(method):
            timings.append(_entry(method, preset) | {"parameters": values})
            print(json.dumps(timings[-1]), flush=True)
    content = {
        "schema_version": SCHEMA_VERSION,
        "measured_on": "one core of a CPU",
        "timings": sorted(timings, key=lambda entry: entry["method"]),
    }
    FILE.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def _variants(method: Method) -> list[tuple[dict[str, Any], str | None]]:
    """Return the parameters by which times differ, each once, with a preset that sets them."""
    found: list[tuple[dict[str, Any], str | None]] = []
    for preset in (None, *method.presets):
        values = timing_parameters(method, resolve_parameters(method, {}, preset).values)
        if values not in [known for known, _ in found]:
            found.append((values, preset))
    return found


def _entry(method: Method, preset: str | None) -> dict[str, Any]:
    small = _cost(method, preset, FEW_SLICES)
    count = next(count for most, count in MORE_SLICES if small["seconds"] < most)
    large = _cost(method, preset, count)
    per_voxel = {
        name: max(0.0, (large[name] - small[name]) / (large["voxels"] - small["voxels"]))
        for name in ("seconds", "bytes")
    }
    fixed = {name: max(0.0, small[name] - per_voxel[name] * small["voxels"]) for name in per_voxel}
    return {
        "method": method.key,
        "seconds": float(f"{fixed['seconds']:.3g}"),
        "seconds_per_voxel": float(f"{per_voxel['seconds']:.3g}"),
        "bytes": float(f"{fixed['bytes']:.3g}"),
        "bytes_per_voxel": float(f"{per_voxel['bytes']:.3g}"),
    }


def _cost(method: Method, preset: str | None, slices: int) -> dict[str, float]:
    """Return voxels, CPU seconds and largest memory of one run."""
    in_plane = OF_BREASTS if PHASE_ROLE in method.inputs else IN_PLANE
    patient = sample_patient(size=(*in_plane, slices))
    with tempfile.TemporaryDirectory() as name:
        command = _command(method, preset, patient, Path(name))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{method.key}, preset {preset}: the run failed")
        told = json.loads((Path(name) / "out" / PROVENANCE).read_text(encoding="utf-8"))
    return {
        "voxels": patient.brain.size,
        "seconds": used.ru_utime + used.ru_stime,
        "bytes": told["memory"]["process_bytes"],
    }


def _command(method: Method, preset: str | None, patient: SamplePatient, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "ContrastSynthLib", "run", method.key, "--progress", "none"]
    command += ["--out", str(folder / "out"), "--device", "cpu"]
    known = {**patient.scans, PHASE_ROLE: patient.scans["post"]}
    scans = {role: known[role] for role in method.inputs if role in known}
    # A stack of thick slices does not look like a brain.
    scans["mask"] = scans[method.reference].with_array(patient.brain)
    for role, volume in scans.items():
        write_volume(volume, folder / f"{role}.nrrd", compress=False)
        command += ["--in", f"{role}={folder / role}.nrrd"]
    return command + (["--preset", preset] if preset else [])


if __name__ == "__main__":
    raise SystemExit(main())
