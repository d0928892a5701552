"""The tab "Synthesise": titles, small numbers, citation, import of weights, estimates, messages."""

from __future__ import annotations

import json
import shutil
import zipfile

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import cut_off, entries, fit_height, pick, press, pump, type_text
from scans import add_volume, settled

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS, declared_parameters
from ContrastSynthLib.resources import citation, resource
from ContrastSynthLib.running.run import run  # noqa: F401 - declares the methods
from ContrastSynthLib.weights.bundles import USER_FOLDER_VARIABLE

VOLUME = "vtkMRMLScalarVolumeNode"
RUN_S = 90.0


@pytest.fixture(autouse=True)
def own_weights(monkeypatch, tmp_path):
    """No weights are imported into the folder of who runs the tests."""
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path / "imported"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def tab(panel):
    panel.synthesise.form.advanced.collapsed = False
    return panel.synthesise


@pytest.fixture
def nodes(panel, tab, patient):
    from ContrastSynthPanel.scene import bridge

    names, found = {"pre": "T1 pre", "post": "T1 post Gd", "low": "T1 low dose"}, {}
    for role, name in names.items():
        found[role] = slicer.mrmlScene.AddNewNodeByClass(VOLUME, name)
        scan = patient.scans[role]
        bridge.fill_node(found[role], scan, scan.grid.index_to_ras, None)
    settled(panel)
    return found


def show(tab, key):
    pick(tab.form.method_combo, METHODS[key].title)


def apply(tab):
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    return tab.run.message.plainText


# Titles and numbers


@pytest.mark.parametrize("key", list(METHODS))
def test_choices_and_presets_are_shown_by_their_titles(tab, key):
    show(tab, key)
    method = METHODS[key]
    titles = [method.preset_title(preset) for preset in method.presets]
    assert entries(tab.parameters.preset_combo) == ["Defaults", *titles]
    for name, entry in declared_parameters(method).items():
        if not entry.param.choices:
            continue
        field = tab.parameters.fields[name]
        shown = entries(field.widget)
        assert shown == [entry.param.choice_title(choice) for choice in entry.param.choices]
        assert not [text for text in shown if "_" in text or text.islower()]
        for choice, title in zip(entry.param.choices, shown, strict=True):
            pick(field.widget, title)
            assert field.value() == choice


@pytest.mark.parametrize("text", ["0.0001", "0.00123", "0.5", "0"])
def test_small_weights_of_the_prior_can_be_typed(tab, text):
    show(tab, "lip_car")
    alpha = tab.parameters.fields["alpha"]
    type_text(alpha.widget, "0.25")
    type_text(alpha.widget, text)
    assert alpha.value() == float(text)
    assert tab.parameters.given == {"alpha": float(text)}
    pick(tab.parameters.preset_combo, "As in the paper")
    assert alpha.value() == 0.006


def test_the_arrows_step_by_the_size_of_the_number(tab):
    show(tab, "lip_car")
    alpha = tab.parameters.fields["alpha"]
    for start, expected in ((0.002, 0.0021), (0.05, 0.051)):
        alpha.widget.value = start
        alpha.widget.stepUp()
        assert alpha.value() == pytest.approx(expected)


# The paper


@pytest.mark.parametrize("key", list(METHODS))
def test_the_paper_is_cited_with_its_link(tab, key):
    show(tab, key)
    paper, text = citation(METHODS[key].citation), tab.form.citation_label.text
    assert paper["authors"][0] in text
    assert str(paper["year"]) in text
    assert paper["title"] in text
    assert ("<a href" in text) == ("url" in paper or "doi" in paper)
    assert paper.get("url", "") in text
    assert tab.form.citation_label.openExternalLinks


def test_a_doi_becomes_a_link_and_signs_are_no_markup(host, monkeypatch):
    host.open_module()
    from ContrastSynthPanel import citations

    paper = {"authors": ["A <b>", "C & D"], "title": "x < y", "venue": "J", "year": 2020}
    monkeypatch.setattr(citations, "citation", lambda key: paper | {"doi": "10.1/x"})
    text = citations.citation_html("any")
    assert "A &lt;b&gt;, C &amp; D (2020): x &lt; y." in text
    assert 'href="https://doi.org/10.1/x"' in text


# Weights


def bundle(folder, name="sphere", version="9.9"):
    """Return a copy of shipped weights under another version, as somebody may have been given."""
    shutil.copytree(resource(f"weights/{name}/metadata.json").parent, folder)
    path = folder / "metadata.json"
    card = json.loads(path.read_text(encoding="utf-8")) | {"version": version}
    path.write_text(json.dumps(card), encoding="utf-8")
    return folder


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{folder.name}/{file.name}")
    return path


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_imported_weights_are_listed_and_chosen(host, tab, tmp_path, kind):
    show(tab, "sphere")
    before = entries(tab.form.weights.combos["sphere"])
    folder = bundle(tmp_path / "given")
    given = zipped(folder) if kind == "zip" else folder / "metadata.json"
    host.record.answer(str(given))
    press(tab.form.weights.import_button)
    added = "sphere 9.9, of 25 real and virtual patients"
    assert entries(tab.form.weights.combos["sphere"]) == [*before, added]
    assert tab.form.weights.chosen["sphere"].startswith("sphere-9.9-")
    assert tab.run.message.plainText == f"Imported: {added}."
    assert tab.form.weights.label.text == f"Used: {added}."
    assert tab.state()["weights"] == tab.form.weights.chosen
    host.record.answer(str(given))
    press(tab.form.weights.import_button)
    assert "are there already" in tab.run.message.plainText
    assert entries(tab.form.weights.combos["sphere"]) == [*before, added]


def test_weights_of_another_method_are_imported_and_it_is_said_of_which(host, tab, tmp_path):
    show(tab, "direct_low_to_full")
    before = entries(tab.form.weights.combos["pl2h"])
    host.record.answer(str(zipped(bundle(tmp_path / "given"))))
    press(tab.form.weights.import_button)
    assert entries(tab.form.weights.combos["pl2h"]) == before
    assert tab.form.weights.chosen is None
    text = tab.run.message.plainText
    assert text.endswith("They belong to the method 'SPHERE: pre-contrast from post-contrast'.")
    show(tab, "sphere")
    assert "sphere 9.9, of 25 real and virtual patients" in entries(
        tab.form.weights.combos["sphere"]
    )


def damaged(folder):
    (folder / "model.safetensors").write_bytes(b"not what it was")
    return zipped(folder)


def no_archive(folder):
    path = folder.with_suffix(".zip")
    path.write_bytes(b"no archive")
    return path


@pytest.mark.parametrize(
    ("make", "text"),
    [(damaged, "is damaged or was changed"), (no_archive, "is neither the folder")],
)
def test_what_is_no_bundle_is_reported_and_changes_nothing(host, tab, tmp_path, make, text):
    show(tab, "sphere")
    before = entries(tab.form.weights.combos["sphere"])
    host.record.answer(str(make(bundle(tmp_path / "given"))), "")
    press(tab.form.weights.import_button)
    assert text in tab.run.message.plainText
    assert entries(tab.form.weights.combos["sphere"]) == before
    tab.run.show_message("info", "")
    press(tab.form.weights.import_button)  # and then nothing is chosen in the dialog
    assert not tab.run.message.isVisible()
    assert tab.form.weights.chosen is None


def test_weights_that_vanish_before_a_run_are_reported(host, tab, nodes, tmp_path):
    show(tab, "sphere")
    host.record.answer(str(zipped(bundle(tmp_path / "given"))))
    press(tab.form.weights.import_button)
    (folder,) = (tmp_path / "imported").iterdir()
    (folder / "model.safetensors").unlink()
    press(tab.run.apply_button)
    text = tab.run.action.reason.text
    assert "sphere-9.9-" in text
    assert "are not on this machine" in text
    pick(tab.form.weights.combos["sphere"], "The method's own")
    assert tab.run.apply_button.enabled


# Time and memory


def test_an_estimate_is_shown_before_the_first_run_and_then_the_last_runs(tab, nodes):
    from ContrastSynthPanel import timings

    show(tab, "physics_dose")
    text = tab.estimate_label.text
    assert text.startswith("A run takes about 1 s, ")
    assert text.endswith(" MB of memory (measured on one core of a CPU).")
    assert apply(tab).startswith("Done")
    assert tab.estimate_label.text.startswith("A run takes about ")
    assert tab.estimate_label.text.endswith("(from your last run).")
    (kept,) = timings.known_timings()
    assert (kept["method"], kept["voxels"]) == ("physics_dose", 48 * 56 * 40)
    show(tab, "physics_pre")
    assert "measured on one core" in tab.estimate_label.text
    pick(tab.inputs.selectors["post"], None)
    assert not tab.estimate_label.isVisible()


def test_a_network_and_a_gpu_are_estimated(tab, nodes):
    show(tab, "sphere")
    own = tab.estimate_label.text
    assert own.endswith("(measured on one core of a CPU; more cores or a GPU are faster).")
    assert "GPU memory" not in own
    tab.form.device.restore("cuda:0")
    tab._edited()
    assert "at most 70 % of the free GPU memory" in tab.estimate_label.text
    show(tab, "lip_car")
    type_text(tab.parameters.fields["iterations"].widget, "500")
    assert tab.estimate_label.text.endswith("are faster; with other parameters).")


@pytest.mark.parametrize("kept", ["", "no JSON", "{}", "[1, 2]", '[{"method": "sphere"}]'])
def test_what_the_settings_hold_is_no_obstacle(tab, nodes, kept):
    import qt
    from ContrastSynthPanel import timings

    qt.QSettings().setValue(timings.SETTING, kept)
    show(tab, "sphere")
    assert "measured on one core" in tab.estimate_label.text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59, "59 s"), (150, "2 min"), (5400, "1.5 h")]
)
def test_durations_as_a_person_says_them(host, seconds, text):
    host.open_module()
    from ContrastSynthPanel import timings

    assert timings.time_text(seconds) == text


# Messages


def test_without_any_volume_it_is_said_what_to_choose(tab):
    show(tab, "sphere")
    assert tab.run.apply_button.toolTip == "Choose a volume for 'Post-contrast'."
    assert not tab.run.apply_button.enabled


def test_why_a_colour_image_is_not_offered_is_said(panel, tab, nodes):
    for node in nodes.values():
        slicer.mrmlScene.RemoveNode(node)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    settled(panel)
    show(tab, "sphere")
    assert "'colours' has several values a voxel" in tab.run.apply_button.toolTip
    assert "Vector to Scalar Volume" in tab.run.apply_button.toolTip
    assert entries(tab.inputs.selectors["post"]) == ["Choose a volume"]


def test_a_package_that_nobody_installed_is_named(panel, tab, monkeypatch):
    pytest.importorskip("torch")
    scans = sample_patient(size=(24, 28, 20)).scans
    for role in ("pre", "low"):
        add_volume(f"T1 {role}", scans[role])
    show(tab, "lip_car")
    settled(panel)
    pick(tab.parameters.preset_combo, "Signal equation")
    pick(tab.parameters.fields["denoiser"].widget, "BM3D")
    text = apply(tab)
    assert "bm3d" in text
    assert "nlm" in text or "install" in text.lower()
    assert tab.run.apply_button.enabled


@pytest.mark.parametrize("key", list(METHODS))
def test_texts_fit_as_the_tab_opens(tab, nodes, key):
    show(tab, key)
    fit_height(tab.widget.window(), 400)
    assert cut_off(tab.widget) == []


def test_a_text_that_is_cut_off_would_be_seen(tab, nodes):
    import qt

    show(tab, "sphere_art")
    fit_height(tab.widget.window(), 400)
    title = "Pre-contrast with artefacts"
    labels = [one for one in tab.above.findChildren(qt.QLabel) if one.isVisible()]
    (label,) = [one for one in labels if one.text == title]
    label.setFixedHeight(label.fontMetrics().height())  # of its two lines, one
    fit_height(tab.widget.window(), 400)
    assert cut_off(tab.above) == [title]


def test_a_lowest_value_that_stands_for_something_says_so(tab):
    show(tab, "lip_car")
    fields = tab.parameters.fields
    assert fields["alpha"].widget.text == "from the noise"
    assert fields["iterate"].widget.text == "the last one"
    type_text(fields["alpha"].widget, "0.0004")
    assert fields["alpha"].widget.text == "0.00040 mm"
    assert tab.parameters.given["alpha"] == pytest.approx(4e-4)
