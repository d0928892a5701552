"""How long each action of the panel keeps Slicer's thread busy, at 240 x 240 x 155 voxels.

    python Testing/bench/panel_times.py                 # a table in Markdown
    python Testing/bench/panel_times.py --size 64 64 48

The panel runs in its test host. *Press* is how long a press of the button takes to come back,
*longest block* the longest time in which a person could not have pressed anything until all was
done, *whole* how long it took. Drawing, which Slicer's views do on top, is not in it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "panel")]

from host import hover, pick, press, pump, start

SIZE, PHASES = (240, 240, 155), 5
LONGEST_S = 300.0
Row = tuple[str, float, float, float]


class Watch:
    """Does actions one after another, and keeps how long each took."""

    def __init__(self) -> None:
        """Have nothing done yet."""
        self.rows: list[Row] = []

    def __call__(self, what: str, act: Callable[[], Any], until: Callable[[], Any]) -> None:
        """Do an action, wait until its end, and keep the times."""
        began = time.perf_counter()
        act()
        press_s = time.perf_counter() - began
        left = pump(lambda: bool(until()), LONGEST_S)
        whole_s = press_s + left.elapsed_s
        self.rows.append((what, press_s, max(press_s, left.longest_block_s), whole_s))
        print(f"{what}: {1000 * self.rows[-1][2]:.0f} ms", file=sys.stderr)
        pump(timeout_s=0.5)  # what it left for later is over before the next


def show(panel: Any, key: str) -> Any:
    """Show a tab, and return it."""
    panel.tab_widget.setCurrentIndex(list(panel.tabs).index(key))
    return panel.tabs[key]


def brain(panel: Any, watch: Watch, size: tuple[int, int, int]) -> None:
    """Measure what is done with a brain."""
    from ContrastSynthPanel.scene import sample_data

    from ContrastSynthLib.registry import METHODS

    settled = lambda: not panel._settle_timer.active  # noqa: E731
    sample_data.load_brain(size=size)  # makes the patient, which takes long
    watch("the panel sees new scans", lambda: None, settled)
    tab = show(panel, "synthesise")
    for key in ("physics_dose", "physics_pre"):
        pick(tab.form.method_combo, METHODS[key].title)
        over = lambda tab=tab: not tab.run.running  # noqa: E731
        watch(f"Apply to result, {key}", lambda tab=tab: press(tab.run.apply_button), over)
    for key in panel.tabs:
        watch(f"open the tab {panel.tabs[key].title}", lambda key=key: show(panel, key), settled)
    _uptake(panel, watch)
    _compare(panel, watch)
    quality = show(panel, "quality")
    over = lambda: not quality.run.running  # noqa: E731
    watch("Quality: Measure", lambda: press(quality.run.apply_button), over)
    _profile(panel, watch)


def _uptake(panel: Any, watch: Watch) -> None:
    tab = show(panel, "uptake")
    idle = lambda: not tab.work.running and not tab._timer.active  # noqa: E731
    watch("Uptake: Show uptake, with lesions", lambda: press(tab.action.button), idle)

    def step() -> None:
        tab.form.threshold.value = tab.form.threshold.value + 0.05

    watch("Uptake: a step of the threshold", step, idle)
    watch("Uptake: the next lesion", lambda: press(tab.table.next_button), idle)


def _compare(panel: Any, watch: Watch) -> None:
    tab = show(panel, "compare")
    idle = lambda: not tab.work.running  # noqa: E731
    for key in ("side", "blend", "flicker", "difference"):
        watch(f"Compare: {tab.buttons[key].text}", lambda key=key: press(tab.buttons[key]), idle)
    watch("Compare: End the comparison", lambda: press(tab.end_button), idle)


def _profile(panel: Any, watch: Watch) -> None:
    import vtk

    tab = show(panel, "profile")
    press(tab.place_button)
    line = tab.line_selector.node
    idle = lambda: not tab._timer.active and not tab.work.running  # noqa: E731

    def place() -> None:
        for point in ((-40, -10, 0), (60, 10, 5)):
            line.AddControlPoint(vtk.vtkVector3d(*point))

    watch("Profile: a line is placed", place, idle)
    move = lambda: line.SetNthControlPointPosition(0, -30.0, 5.0, 2.0)  # noqa: E731
    watch("Profile: an end is dragged", move, idle)


def breast(panel: Any, watch: Watch, size: tuple[int, int, int]) -> None:
    """Measure what is done with a dynamic series."""
    from ContrastSynthPanel.scene import sample_data

    settled = lambda: not panel._settle_timer.active  # noqa: E731
    times = [60.0 * n for n in range(PHASES)]
    sample_data.load_breast(size=size, times_s=times)
    watch("the panel sees a new series", lambda: None, settled)
    tab = show(panel, "kinetics")
    idle = lambda: not tab.work.running  # noqa: E731
    watch("Kinetics: Measure", lambda: press(tab.measure_button), idle)
    watch("Kinetics: another phase", lambda: tab.phases.slider.setValue(2), idle)
    hover("Red", (0.0, 0.0, 0.0))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, nargs=3, default=SIZE)
    options = parser.parse_args()
    host, watch, size = start(), Watch(), tuple(options.size)
    host.activate()
    panel = host.open_module().panel
    brain(panel, watch, size)
    host.scene.Clear(0)
    if "kinetics" in panel.tabs:
        breast(panel, watch, size)
    print("| action | press, ms | longest block, ms | whole, s |\n|---|---|---|---|")
    for what, press_s, block_s, whole_s in watch.rows:
        print(f"| {what} | {1000 * press_s:.0f} | {1000 * block_s:.0f} | {whole_s:.1f} |")
    host.end()


if __name__ == "__main__":
    main()
