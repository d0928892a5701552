"""The tab "Inversion", driven as a person drives it, in the test host."""

from __future__ import annotations

import json
import sys
from functools import partial

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, pick, press, pump, read_table, type_text
from scans import add_volume, open_sections, settled, show_tab

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.result import Result
from ContrastSynthLib.running.run import run  # noqa: F401 - declares the methods
from ContrastSynthLib.volumes import Volume

WIDTH = 400
VOLUME = "vtkMRMLScalarVolumeNode"
SIZE = (40, 46, 10)
COLUMNS = ("iteration", "evaluations", "objective", "fidelity", "regulariser", "change")
INK = {"Objective": "#0072b2", "Fidelity (residual)": "#d55e00", "Prior x alpha": "#009e73"}


def history_of(count, lowest=1e-4):
    """A history as lip_car records it: the objective falls, the prior comes in."""
    n = np.arange(1, count + 1)
    fidelity, prior = 1e-2 / n**3 + lowest, 1e-3 * (1 - 0.9 / n)
    columns = (n, 2 * n, fidelity + 0.05 * prior, fidelity, prior, 0.1 / n)
    return {name: values.tolist() for name, values in zip(COLUMNS, columns, strict=True)}


def provenance(count, stopped="tolerance", **given):
    parameters = {
        "forward": {"value": "physics", "source": "preset physics"},
        "solver": {"value": "lbfgs", "source": "default"},
        "alpha": {"value": 0.0, "source": "default"},
        "iterate": {"value": 0, "source": "default"},
        "flip_angle_deg": {"value": 16.0, "source": "scan 'low'"},
    }
    parameters |= {name: {"value": value, "source": "given"} for name, value in given.items()}
    record = {"alpha_mm": 0.05, "stopped_by": stopped, "history": history_of(count)}
    return {
        "method": {"key": "lip_car"},
        "inputs": {"low": [], "pre": []},
        "parameters": parameters,
        "record": record,
        "outputs": {"post": {}},
        "warnings": [],
    }


@pytest.fixture(scope="module")
def scans():
    """A head of a few slices and 1 mm: quick to invert."""
    made = sample_patient(size=SIZE).scans
    return {r: Volume(v.array, Grid(SIZE), v.acquisition) for r, v in made.items()}


@pytest.fixture
def tab(panel):
    return show_tab(panel, "inversion")


@pytest.fixture
def selectors(panel):
    return panel.box.selectors


@pytest.fixture
def nodes(panel, scans):
    return add_patient(panel, scans)


def add_patient(panel, scans):
    names = {"pre": "T1 pre", "low": "T1 low dose"}
    found = {role: add_volume(name, scans[role]) for role, name in names.items()}
    settled(panel)
    return found


@pytest.fixture
def result(panel, tab, nodes, scans):
    """A result of 20 iterations in the scene, which is the case's."""
    node = add_result(nodes, scans, provenance(20, dose=0.33))
    settled(panel)
    return node


def a_result(scans, text):
    return Result({"post": scans["low"].with_array(scans["low"].array, "by a test")}, text)


def add_result(nodes, scans, text):
    from ContrastSynthPanel.scene import run_results

    made = a_result(scans, text)
    return run_results.add_result(slicer.mrmlScene, made, nodes["low"], nodes)["post"]


def start(panel, preset="Signal equation", method="lip_car"):
    """Apply a method under Synthesise, and look at the inversion again."""
    tab = show_tab(panel, "synthesise")
    pick(tab.form.method_combo, METHODS[method].title)
    open_sections(tab)
    if preset:
        pick(tab.parameters.preset_combo, preset)
    press(tab.run.apply_button)
    return show_tab(panel, "inversion")


WORKER = """
import json, sys, time
from pathlib import Path
plan = json.loads(Path(__file__).with_name("plan.json").read_text())
def say(kind, **content):
    print(json.dumps({"schema_version": 1, "type": kind, **content}), flush=True)
for n, one in enumerate(plan["measures"]):
    say("progress", fraction=n / 1000, message=f"Iteration {n + 1}", measures=one)
    time.sleep(plan["every_s"])
if plan["files"]:
    import shutil
    out = Path(next(a for a in sys.argv if a.startswith("--out=")).removeprefix("--out="))
    shutil.copytree(plan["files"], out)
    say("result", outputs={"post": "post.nrrd"}, provenance="provenance.json", warnings=[])
elif plan["fails"]:
    say("error", message="It was not to be.", exit_code=2)
else:
    time.sleep(60)
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Let the next runs be what a plan says: iterations, then a result, a failure or nothing."""
    from ContrastSynthPanel.widgets import run_section

    script, asked = tmp_path / "worker.py", []
    script.write_text(WORKER, encoding="utf-8")

    class Job(run_section.Job):
        def start(self, arguments):
            asked.append(arguments)
            super().start(arguments)

    monkeypatch.setattr(run_section, "Job", partial(Job, sys.executable, [str(script)]))

    def plan(measures, every_s=0.0, result=None, fails=False):
        files = None
        if result is not None:
            files = tmp_path / "files"
            result.write(files)
        text = {"measures": measures, "every_s": every_s, "fails": fails}
        (tmp_path / "plan.json").write_text(json.dumps(text | {"files": files and str(files)}))
        return asked

    return plan


def steps(history):
    """Return the measures of each iteration, as a worker reports them."""
    return [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]


def colours_in(picture):
    image = picture.pixmap.toImage()
    rows, columns = range(0, image.height(), 2), range(0, image.width(), 2)
    return {image.pixelColor(x, y).name() for y in rows for x in columns}


# While it runs


def test_the_curves_grow_while_it_runs(panel, tab, nodes, worker):
    history = history_of(12)
    worker(steps(history), every_s=0.15)
    start(panel)
    seen = []

    def grown():
        count = len(tab.history.get("iteration", ()))
        if count and count not in seen:
            seen.append(count)
            assert tab.history["objective"] == history["objective"][:count]
            assert tab.status.text == f"Running. Iteration {count}."
        return count == 12

    took = pump(grown, 30.0)
    assert len(seen) > 4, "it is drawn as it goes"
    assert took.longest_block_s < 0.5
    assert tab.plots.legends[0].isVisible()
    assert tab.plots.pictures[0].isVisible()
    assert {INK["Objective"], INK["Fidelity (residual)"]} <= colours_in(tab.plots.pictures[0])
    assert ["Iteration", "1", "12"] in read_table(tab.table)
    assert not tab.intro.isVisible()
    assert not tab.again_button.isVisible()
    show_tab(panel, "synthesise")
    press(panel.synthesise.run.cancel_button)
    pump(lambda: not panel.synthesise.run.running, 20.0)
    show_tab(panel, "inversion")
    assert tab.status.text == "The run ended after iteration 12, without a result."
    assert tab.history["iteration"][-1] == 12, "what was seen stays in view"


def test_a_run_that_begins_again_with_less_memory_is_drawn_anew(panel, tab, nodes, worker):
    history = history_of(3)
    worker([*steps(history_of(7, lowest=1e-2)), *steps(history)])
    start(panel)
    pump(lambda: tab.history.get("objective") == history["objective"], 30.0)


def test_the_scene_is_closed_while_it_runs(panel, tab, nodes, worker):
    worker(steps(history_of(5)))
    start(panel)
    pump(lambda: len(tab.history.get("iteration", ())) == 5, 30.0)
    close_scene()
    assert not panel.synthesise.run.running
    assert tab.history == {}
    assert tab.intro.isVisible()
    assert not tab.status.isVisible()


def test_measures_of_another_kind_are_passed_over(panel, tab, nodes, worker):
    worker([{"loss": 3.0}, {"objective": 1.0}], fails=True)
    start(panel)
    pump(lambda: not panel.synthesise.run.running, 30.0)
    assert tab.history == {}
    assert tab.intro.isVisible()


def test_the_result_of_a_run_is_shown(panel, tab, nodes, scans, worker, selectors):
    text = provenance(9)
    worker(steps(history_of(9)), result=a_result(scans, text))
    start(panel)
    pump(lambda: not panel.synthesise.run.running, 30.0)
    assert tab._source is selectors["result"].node
    assert tab._source.GetName().endswith(": T1 low dose")
    assert tab.history == text["record"]["history"]
    assert tab.again_button.isVisible()
    assert tab.kept == 9


# A result


def test_without_an_inversion_it_says_what_to_do(panel, tab):
    assert METHODS["lip_car"].title in tab.intro.text
    assert METHODS["physics_pre"].title not in tab.intro.text
    for widget in (tab.plots.widget, tab.table, tab.again_button, tab.chart_button):
        assert not widget.isVisible()


def test_a_result_shows_how_it_was_solved(tab, result):
    history = history_of(20)
    rows = {name: (start, end) for name, start, end in read_table(tab.table)}
    first, last = history["objective"][0], history["objective"][-1]
    assert rows["Objective"] == (f"{first:.2e}", f"{last:.2e}")
    assert rows["Prior x alpha"][1] == f"{0.05 * history['regulariser'][-1]:.2e}"
    assert rows["Evaluations"] == ("2", "40")
    assert "Solver: lbfgs." in tab.facts.text
    assert "the objective fell by less than the tolerance" in tab.facts.text
    assert "alpha: 0.05 mm, derived from the noise of the scan" in tab.facts.text
    assert set(INK.values()) <= colours_in(tab.plots.pictures[0])


def test_an_iterate_is_marked_and_reported(tab, result):
    before = tab.plots.pictures[0].pixmap.toImage()
    tab.iterate.value = 5.0
    objective = history_of(20)["objective"]
    text = f"Iterate 5 of 20: objective {objective[4]:.2e}, in the last one {objective[-1]:.2e}."
    assert tab.iterate_label.text == text
    assert tab.plots.pictures[0].pixmap.toImage() != before


def test_run_again_asks_for_the_iterate_and_keeps_the_history(
    panel, tab, result, nodes, scans, worker, selectors
):
    text = provenance(5, "iterations", dose=0.33, iterate=5)
    asked = worker(steps(history_of(5)), result=a_result(scans, text))
    tab.iterate.value = 5.0
    press(tab.again_button)
    assert not tab.again_button.enabled
    assert tab.again_button.toolTip == "A run is under way."
    pump(lambda: not panel.synthesise.run.running, 30.0)
    settled(panel)
    ((command, method, *options),) = asked
    assert (command, method) == ("run", "lip_car")
    given = {option for option in options if option.startswith(("--set", "--preset"))}
    assert given == {"--preset=physics", "--set=dose=0.33", "--set=iterate=5"}
    kept = selectors["result"].node
    assert kept is not result, "the views and all tabs go to what was made"
    assert tab.kept == 5
    assert len(tab.history["iteration"]) == 20, "to try another iterate of the same history"
    text = f"'{kept.GetName()}' keeps iterate 5. The curves are those of '{result.GetName()}'."
    assert tab.status.text == text
    assert tab.again_button.enabled
    pick(selectors["result"], result)
    assert tab.status.text == ""
    pick(selectors["result"], kept)
    assert "Stopped at iterate 5, as asked." in tab.facts.text
    assert panel.synthesise.parameters.given == {"dose": 0.33, "iterate": 5}


def test_it_runs_again_on_the_scans_of_the_shown_result(
    panel, tab, result, nodes, scans, worker, selectors
):
    """Three patients in an afternoon, of equal names: whatever Synthesise is about meanwhile."""
    patients = [nodes, add_patient(panel, scans), add_patient(panel, scans)]
    results = [result, *(add_result(one, scans, provenance(20)) for one in patients[1:])]
    settled(panel)
    synthesise = show_tab(panel, "synthesise")
    pick(synthesise.form.method_combo, METHODS["lip_car"].title)
    for role, node in patients[2].items():
        pick(synthesise.inputs.selectors[role], node)
    show_tab(panel, "inversion")
    worker(steps(history_of(5)), result=a_result(scans, provenance(5, iterate=5)))
    for own, node in zip(patients, results, strict=True):
        pick(selectors["result"], node)
        press(tab.again_button)
        assert synthesise._running_nodes == own
        pump(lambda: not synthesise.run.running, 30.0)
        made = selectors["result"].node
        assert made not in results
        from ContrastSynthPanel.scene import relations

        assert relations.inputs_of(made) == own


def test_the_mask_and_the_alignment_are_those_of_the_shown_result(
    panel, tab, nodes, scans, worker, selectors
):
    from ContrastSynthPanel.scene import bridge

    inside = scans["low"].with_array((scans["low"].array > 0).astype(np.float32))
    brain, other = (
        bridge.mask_to_segmentation(slicer.mrmlScene, inside, nodes["low"], name)
        for name in ("brain", "other")
    )
    text = provenance(20) | {"alignment": {"mode": "resample"}}
    add_result({**nodes, "mask": brain}, scans, text)
    settled(panel)
    show_tab(panel, "quality")
    pick(selectors["mask"], other)
    show_tab(panel, "inversion")
    asked = worker(steps(history_of(5)), result=a_result(scans, provenance(5)))
    press(tab.again_button)
    assert panel.synthesise._running_nodes == {**nodes, "mask": brain}
    pump(lambda: not panel.synthesise.run.running, 30.0)
    assert "--align=resample" in asked[0]


def test_scans_that_are_gone_are_named_beside_the_button(panel, tab, result, nodes):
    slicer.mrmlScene.RemoveNode(nodes["pre"])
    settled(panel)
    text = f"No longer in the scene: Pre-contrast. '{result.GetName()}' was made from it."
    assert tab.again.reason.text == text
    assert tab.again.reason.isVisible()
    assert not tab.again_button.enabled
    assert len(tab.history["iteration"]) == 20


def test_parameters_of_another_version_are_reported(panel, tab, nodes, scans):
    add_result(nodes, scans, provenance(4, of_tomorrow=1))
    settled(panel)
    press(tab.again_button)
    assert "of_tomorrow" in tab.status.text
    assert not panel.synthesise.run.running


def test_the_curves_go_into_a_plot_view(host, tab, result):
    press(tab.chart_button)
    view = host.app.layoutManager().plotWidget(0).mrmlPlotViewNode()
    chart = view.GetPlotChartNode()
    assert chart.GetTitle() == f"Objective: {result.GetName()}"
    assert chart.GetYAxisLogScale()
    names = [chart.GetNthPlotSeriesNode(n).GetName() for n in range(3)]
    assert names == list(INK)
    table = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    assert table.GetNumberOfRows() == 20


def test_results_of_equal_names_keep_a_chart_each(panel, tab, result, nodes, scans, selectors):
    press(tab.chart_button)
    other = add_result(add_patient(panel, scans), scans, provenance(7))
    other.SetName(result.GetName())
    settled(panel)
    pick(selectors["result"], other)
    press(tab.chart_button)
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    rows = [
        one.GetNthPlotSeriesNode(0).GetTableNode().GetTable().GetNumberOfRows()
        for one in charts
        if one.GetName().startswith("Objective: ")
    ]
    assert rows == [20, 7]
    count = len(charts)
    press(tab.chart_button)
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == count


def test_a_result_without_a_solver_is_reported(panel, tab, result, nodes, scans, selectors):
    plain = add_result(nodes, scans, {**provenance(3), "record": {}})
    settled(panel)
    pick(selectors["result"], plain)
    text = f"'{plain.GetName()}' was not made by an iterative method: there is nothing to show. "
    assert tab.status.text == f"{text}These were: '{result.GetName()}'."
    assert tab.intro.isVisible()


def test_the_state_is_restored_with_the_scene(host, tab, result, nodes, scans, selectors):
    add_result(nodes, scans, provenance(7))
    pick(selectors["result"], result)
    tab.iterate.value = 6.0
    host.app.moduleManager().reload("ContrastSynth")
    panel = host.open_module().panel
    again = show_tab(panel, "inversion")
    assert again is not tab
    settled(panel)
    assert again._source is panel.box.selectors["result"].node is result
    assert again.kept == 6
    assert len(again.history["iteration"]) == 20
    close_scene()
    assert again.history == {}
    assert again.intro.isVisible()


def test_what_is_shown_stays_when_another_module_was_shown(host, panel, tab, result, selectors):
    tab.iterate.value = 6.0
    host.leave_module()
    host.open_module()
    settled(panel)
    assert tab._source is result
    assert tab.kept == 6


def test_nothing_is_cut_off_in_a_narrow_panel(panel, tab, result):
    window = tab.widget.window()
    assert window.minimumSizeHint.width() <= WIDTH
    window.resize(WIDTH, 1000)
    pump(timeout_s=0.1)
    table = tab.table
    assert sum(table.columnWidth(n) for n in range(3)) <= table.viewport().width
    for texts in read_table(tab.table):
        for column, text in enumerate(texts):
            assert table.fontMetrics().horizontalAdvance(text) <= table.columnWidth(column) - 6
    for button in (tab.again_button, tab.chart_button):
        assert button.fontMetrics().horizontalAdvance(button.text) < WIDTH - 60


def test_the_real_solver_is_watched(panel, tab, nodes):
    pytest.importorskip("torch", reason="the solvers need torch")
    synthesise = show_tab(panel, "synthesise")
    pick(synthesise.form.method_combo, METHODS["lip_car"].title)
    open_sections(synthesise)
    pick(synthesise.parameters.preset_combo, "Signal equation")
    type_text(synthesise.parameters.fields["iterations"].widget, "4")
    press(synthesise.run.apply_button)
    show_tab(panel, "inversion")
    live = []

    def over():
        if tab._live is not None:
            live[:] = tab._live["objective"]
        return not synthesise.run.running

    pump(over, 120.0)
    assert live, synthesise.run.message.plainText
    assert tab.history["objective"] == live
    assert len(live) == 4
    assert "all iterations that were allowed" in tab.facts.text
