"""What all tests share: real scans, training scripts, --slow, two threads, the closing line."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

# Before anything imports numpy, torch or ITK: tests run beside other work, perhaps other tests.
WORKER = "PYTEST_XDIST_WORKER" in os.environ
for variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
):
    # A worker has inherited what was set here for the process that started it.
    os.environ[variable] = "1" if WORKER else os.environ.get(variable, "2")

# What tests of one folder share lies beside them: making_dicom, training_slabs.
sys.path.append(str(Path(__file__).resolve().parent / "unit"))

VARIABLE = "CONTRASTSYNTH_REAL_SCANS"
TRAINING = Path(__file__).resolve().parents[1] / "training"
REAL_PAIRS = ("brats20_186", "tcga_fg_6692", "open_ms_p07")


SLAB_CASE, SLAB_SLICES = "brats20_186", 16


class RealPair(NamedTuple):
    """Files of one patient on one grid, before and after the agent."""

    pre: Path
    post: Path


@pytest.fixture(scope="session")
def real_scans() -> Path:
    """The folder of real scans; the test is skipped when the variable does not name one."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"{VARIABLE} is not set")
    folder = Path(named)
    if not (folder / "cases.json").is_file():
        pytest.fail(f"{VARIABLE} is {named}, but there is no cases.json", pytrace=False)
    return folder


@pytest.fixture(params=REAL_PAIRS)
def real_pair(request: pytest.FixtureRequest, real_scans: Path) -> RealPair:
    """Each pair of real scans that lies on one grid, in turn."""
    cases = json.loads((real_scans / "cases.json").read_text(encoding="utf-8"))
    files = cases[request.param]
    folder = real_scans / request.param
    return RealPair(folder / files["pre"], folder / files["post"])


@pytest.fixture(scope="session")
def real_slab(real_scans: Path) -> dict[str, Any]:
    """``pre`` and ``post`` of one patient: the volumes of the slices that enhance the most."""
    import numpy as np
    from slabs_of_scans import slab

    from ContrastSynthLib.files.images import read_volume

    files = json.loads((real_scans / "cases.json").read_text("utf-8"))[SLAB_CASE]
    whole = {role: read_volume(real_scans / SLAB_CASE / files[role]) for role in ("pre", "post")}
    pre, post = (whole[role].array for role in ("pre", "post"))
    brain = (pre > 0) & (post > 0)
    rise = post / np.median(post[brain]) - pre / np.median(pre[brain])
    counts = ((rise > 0.2) & brain).sum(axis=(1, 2))
    first = int(np.convolve(counts, np.ones(SLAB_SLICES), mode="valid").argmax())
    return {role: slab(volume, first, SLAB_SLICES) for role, volume in whole.items()}


@pytest.fixture(scope="module")
def training_path() -> Iterator[Path]:
    """The folder of the training scripts, first in the path as for a script that runs there."""
    sys.path.insert(0, str(TRAINING))
    yield TRAINING
    sys.path.remove(str(TRAINING))


@pytest.fixture
def random_weights(tmp_path: Path) -> Callable[[str], Any]:
    """Make the bundle of a name once more, with random numbers for its weights.

    Checks of what shipped weights do are to fail with it.
    """

    def made(name: str) -> Any:
        import torch

        from ContrastSynthLib.weights.bundles import find_bundle
        from ContrastSynthLib.weights.storage import load_state, save_bundle

        shipped = find_bundle(name, None)
        generator = torch.Generator().manual_seed(0)
        # Sorted, since the order of a file's tensors is another one in each process.
        state = {
            key: torch.randn(value.shape, generator=generator) * value.std().clamp(min=1e-3)
            if value.is_floating_point() and value.ndim > 1
            else value
            for key, value in sorted(load_state(shipped).items())
        }
        card = {key: value for key, value in shipped.metadata.items() if key != "sha256"}
        return save_bundle(tmp_path / "random", state, card, "none")

    return made


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses the real scans; skip what is slow."""
    unasked = pytest.mark.skip(reason="slow: run with --slow")
    for item in items:
        uses_scans = "real_scans" in getattr(item, "fixturenames", ())
        if item.get_closest_marker("real_scans") and not uses_scans:
            raise pytest.UsageError(f"{item.nodeid}: marked real_scans without that fixture")
        if uses_scans:
            item.add_marker("real_scans")
            item.user_properties.append(("real_scans", True))
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(unasked)


real_scan_outcomes: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the tests on real scans: each one that was called, and each that was skipped."""
    if ("real_scans", True) in report.user_properties:
        if report.when == "call" and not report.skipped:
            real_scan_outcomes["ran"] += 1
        elif report.skipped:
            real_scan_outcomes["skipped"] += 1


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session):
    """Say last, after pytest's own closing line, how many tests ran on real scans."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        ran, skipped = real_scan_outcomes["ran"], real_scan_outcomes["skipped"]
        told = f"{ran} tests ran, {skipped} skipped"
        if not os.environ.get(VARIABLE):
            told = f"none ran, {VARIABLE} is not set"
        reporter.ensure_newline()
        reporter.write_line(f"real scans: {told}")
    return result
