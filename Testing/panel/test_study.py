"""The tab "Study", read by key presses, and what it may not tell."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

for package in ("PySide6", "slicer", "sqlalchemy", "statsmodels", "pingouin"):
    pytest.importorskip(package)

import slicer
from host import entries, pick, press, screenshot
from keys import strike
from scans import settled, show_tab

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.reader_study import blinding
from ContrastSynthLib.reader_study.analysis import analyse
from ContrastSynthLib.reader_study.protocol import PREFERENCE, Protocol, StudyCase
from ContrastSynthLib.reader_study.sitting import Sitting
from ContrastSynthLib.reader_study.store import Store
from ContrastSynthLib.volumes import Volume

SHAPE, NAMES = (8, 24, 20), ("anna", "berta", "clara")
CRITERIA = ("quality", "alignment", "tissue", "diagnostic", "artefacts")


@pytest.fixture
def protocol(tmp_path):
    rng, cases = np.random.default_rng(0), []
    for name in NAMES:
        for what, mark in (("sphere", "made by sphere"), ("t1", None), ("t1c", None)):
            volume = Volume(rng.uniform(50, 99, SHAPE), Grid(SHAPE[::-1]), synthetic=mark)
            write_volume(volume, tmp_path / f"{name}_{what}.nrrd")
        files = [str(tmp_path / f"{name}_{what}.nrrd") for what in ("sphere", "t1", "t1c")]
        cases.append(StudyCase(name, files[0], files[1], (files[2],)))
    return Protocol("Pre-contrast images", tuple(cases), ("one", "two"), seed=3)


@pytest.fixture
def folder(protocol, tmp_path):
    blinding.create(protocol, tmp_path / "study")
    return tmp_path / "study" / blinding.READERS


@pytest.fixture
def tab(panel, folder):
    tab = show_tab(panel, "study")
    tab.open_folder(folder)
    return tab


def begin(tab, reader="one"):
    pick(tab.reader_combo, reader)
    press(tab.begin_button)


def scores(folder, reader="one"):
    store = Store(folder / blinding.STORE)
    found = {(row["number"], row["criterion"]): row["value"] for row in store.scores(reader)}
    store.close()
    return found


def volumes():
    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_a_study_is_read_by_keys_alone(panel, tab, folder):
    assert entries(tab.reader_combo) == ["one", "two"]
    begin(tab)
    assert tab.progress_label.text == "Reading 1 of 6"
    assert [node.GetName() for node in volumes()] == ["Image", "Beside 1"]
    strike(tab, *"4321")
    assert not tab.keep_button.enabled
    assert tab.keep_button.toolTip == "No score yet: Imaging artefacts"
    strike(tab, *"4", "Return")
    assert scores(folder) == dict(zip([(1, c) for c in CRITERIA], (4, 3, 2, 1, 4), strict=True))
    assert tab.progress_label.text == "Reading 2 of 6"
    strike(tab, *"33333", "Return")
    for _reading in range(4):
        tab.form.values = dict.fromkeys(CRITERIA, 3)
        tab._scored()
        press(tab.keep_button)
    assert tab.message.text == "All is read. Thank you."
    assert len(scores(folder)) == 6 * 5
    assert volumes() == []


def test_it_goes_on_where_it_was_left_and_corrects(panel, tab, folder):
    begin(tab)
    strike(tab, *"22222", "Return")
    tab.open_folder(folder)
    begin(tab)
    assert tab.progress_label.text == "Reading 2 of 6"
    strike(tab, "Backspace")
    assert tab.progress_label.text == "Reading 1 of 6"
    assert tab.form.values == dict.fromkeys(CRITERIA, 2)
    strike(tab, "Down", *"4", "Return")
    assert scores(folder)[1, "alignment"] == 4
    assert tab.progress_label.text == "Reading 2 of 6"


def test_images_beside_pause_comment_and_flag(panel, tab, folder):
    begin(tab)
    assert tab.shown_label.text == "Shown: Image"
    strike(tab, "B")
    assert tab.shown_label.text == "Shown: Beside 1"
    strike(tab, "P")
    assert tab.progress_label.text == "Paused. Reading 1 of 6"
    assert volumes() == []
    strike(tab, *"4")
    assert tab.form.values == {}
    strike(tab, "P", *"33333")
    tab.comment.text = "motion"
    tab.flag.checked = True
    strike(tab, "Return")
    store = Store(folder / blinding.STORE)
    assert [(r["kind"], r["text"]) for r in store.remarks()] == [
        ("comment", "motion"),
        ("flag", ""),
    ]
    store.close()
    assert tab.comment.text == ""


def test_time_without_anybody_is_not_counted(panel, tab, folder, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("ContrastSynthPanel.tabs.study.time.monotonic", lambda: now[0])
    panel._look_timer.stop()
    begin(tab)
    for _second in range(20):
        now[0] += 1
        tab.look()
    for _minute in range(10):  # lunch
        now[0] += 61
        tab.look()
    strike(tab, *"33333")
    now[0] += 5
    tab.look()
    strike(tab, "Return")
    store = Store(folder / blinding.STORE)
    seconds = store.scores("one")[0]["seconds"]
    store.close()
    assert 20 <= seconds <= 30


def test_scores_that_were_not_kept_are_asked_for_and_not_lost(panel, tab, folder, monkeypatch):
    begin(tab)
    strike(tab, *"44")
    show_tab(panel, "compare")
    assert volumes() == []
    show_tab(panel, "study")
    assert tab.form.values == {"quality": 4, "alignment": 4}
    assert [node.GetName() for node in volumes()] == ["Image", "Beside 1"]
    strike(tab, *"44444")
    asked = []
    monkeypatch.setattr(
        slicer.util, "confirmYesNoDisplay", lambda text, **_more: asked.append(text) or True
    )
    show_tab(panel, "compare")
    assert asked == ["Keep the scores of this reading?"]
    assert len(scores(folder)) == 5


def test_two_images_side_by_side(panel, protocol, tmp_path):
    blinding.create(replace(protocol, mode=PREFERENCE), tmp_path / "pairs")
    tab = show_tab(panel, "study")
    tab.open_folder(tmp_path / "pairs")
    begin(tab)
    assert [node.GetName() for node in volumes()] == ["Left", "Right", "Beside 1"]
    strike(tab, *"2", "Return")
    assert scores(tmp_path / "pairs" / "readers") == {(1, "choice"): 2}


def test_what_is_wrong_is_told_and_nothing_is_lost(panel, tab, folder, tmp_path):
    begin(tab)
    strike(tab, *"33333", "Return")
    for image in (folder / "images").iterdir():
        image.unlink()
    strike(tab, *"33333", "Return")
    assert tab.message.kind == "failed"
    assert len(scores(folder)) == 10
    tab.open_folder(tmp_path)
    assert "there is no study" in tab.message.text
    assert not tab.begin_button.enabled


def test_where_a_package_is_missing_it_can_be_installed(panel, host, monkeypatch):
    from ContrastSynthPanel import dependencies

    def version(name):
        if name == "sqlalchemy" and not host.record.installed:
            raise PackageNotFoundError(name)
        return "99"

    monkeypatch.setattr(dependencies, "version", version)
    tab = show_tab(panel, "study")
    tab._show()
    assert tab.dependencies.label.text == "Not installed: sqlalchemy. Needed for reader studies."
    assert not tab.open_button.enabled
    host.record.answer(True)
    press(tab.dependencies.button)
    assert tab.message.text == "Installed: sqlalchemy."
    assert tab.open_button.enabled
    assert not tab.dependencies.widget.visible


def test_of_two_sittings_of_one_reader_only_the_last_one_scores(panel, tab, folder):
    begin(tab)
    strike(tab, *"33333")
    store = Store(folder / blinding.STORE)
    other = Sitting.begin(store, "one")
    strike(tab, "Return")
    assert "one has opened the study once more" in tab.message.text
    assert "this score was not kept" in tab.message.text
    assert tab.form.values == dict.fromkeys(CRITERIA, 3), "what was given is still there"
    other.score(1, dict.fromkeys(CRITERIA, 2), 3.0)
    assert scores(folder) == dict.fromkeys([(1, one) for one in CRITERIA], 2)
    store.close()
    tab.open_folder(folder)
    begin(tab)
    assert tab.progress_label.text == "Reading 2 of 6"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("newer", "this ContrastSynth knows 1: use a newer one"),
        ("no database", "the study's store does not work"),
        ("empty", "there is no study"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused(panel, tab, folder, tmp_path, spoil, words):
    shutil.copytree(folder, tmp_path / "spoilt")
    path = tmp_path / "spoilt" / blinding.STORE
    if spoil == "newer":
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TRIGGER study_update")
            connection.execute("UPDATE study SET schema_version = 2")
    else:
        path.write_bytes(b"" if spoil == "empty" else b"no database" * 400)
    before = path.read_bytes()
    tab.open_folder(tmp_path / "spoilt")
    assert tab.message.kind == "failed"
    assert words in tab.message.text
    assert not tab.begin_button.enabled
    assert path.read_bytes() == before


@pytest.mark.slow
def test_the_papers_study_is_read_by_keys(panel, tmp_path):
    """SPHERE, appendix D: two readers, 15 cases, five criteria; each score is a key."""
    path = Path(__file__).parents[1] / "study_of_the_paper.py"
    spec = importlib.util.spec_from_file_location("study_of_the_paper", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    study, given = script.create(tmp_path / "paper", 0), script.drawn_scores(0)
    key = blinding.read_key(study / blinding.KEY)
    tab = show_tab(panel, "study")
    for reader in script.READERS:
        tab.open_folder(study / blinding.READERS)
        begin(tab, reader)
        for _reading in range(2 * script.CASES):
            case, arm = key.images[tab._reading.images[0]]
            strike(tab, *(str(given[one, arm][reader, case]) for one in CRITERIA), "Return")
        assert tab.message.text == "All is read. Thank you."
    found = analyse(key, Store(study / blinding.READERS / blinding.STORE))
    assert found.missing == 0
    assert found.deviations == ()
    for arm in found.arms:
        mean, _ = script.PAPER[arm.criterion][arm.arm]
        assert arm.mean == pytest.approx(mean, abs=0.02)


def told(widget):
    """Return every text of a widget and of those in it: titles, tooltips, entries, cells."""
    texts = [widget.windowTitle, widget.toolTip, widget.statusTip, widget.objectName]
    for name in ("text", "plainText", "placeholderText", "title"):
        value = getattr(widget, name, "")
        texts.append(value if isinstance(value, str) else "")
    for child in widget.children():
        if hasattr(child, "windowTitle") and child.isVisible():
            texts += told(child)
    return texts


def test_nothing_that_is_seen_tells_the_arm_or_the_patient(panel, tab, folder, tmp_path):
    begin(tab)
    settled(panel)
    texts = [text for text in told(tab.widget.window()) if text]
    for node in slicer.util.getNodesByClass("vtkMRMLNode"):
        texts += [node.GetName() or "", node.GetDescription() or "", node.GetID() or ""]
        if node.IsA("vtkMRMLScalarVolumeNode"):
            texts += [node.GetAttribute(name) for name in node.GetAttributeNames()]
            assert node.GetStorageNode() is None
            assert node.GetDisplayNode().GetWindow() == blinding.LEVELS
    assert len(texts) > 30
    seen = " ".join(texts).lower()
    for word in (*NAMES, "sphere", "_t1", str(tmp_path).lower(), "standard"):
        assert word not in seen, word
    names = {file.stem for file in (folder / "images").iterdir()}
    assert not [name for name in names if name in seen]


def test_the_tab_as_it_is_seen(panel, tab, tmp_path):
    begin(tab)
    strike(tab, *"43")
    assert screenshot(panel.tab_widget.window(), tmp_path / "study.png").is_file()
