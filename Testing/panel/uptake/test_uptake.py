"""The tab "Uptake", driven as a person drives it, in the test host."""

from __future__ import annotations

import gc

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, entries, erase_half, pick, press, pump, settle, type_text
from scans import add_volume, settled, show_tab
from scipy.ndimage import zoom
from uptakes import (
    NAMES,
    add_result,
    array,
    centres,
    composites,
    done,
    found_in,
    inside,
    select,
    set_threshold,
    show,
)

from ContrastSynthLib.analysis.regions import list_regions
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.preprocessing.foreground import foreground
from ContrastSynthLib.volumes import Volume

WIDTH, ARROW = 400, 30
LARGE = (240, 240, 155)
VOLUME, SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"
REAL = "T1 post Gd - T1 pre"


@pytest.fixture
def mask(tab, nodes, patient):
    """A mask of the left half of the brain, chosen."""
    from ContrastSynthPanel.scene import bridge

    left = patient.brain.astype(np.float32)
    left[:, :, 20:] = 0
    half = patient.scans["pre"].with_array(left)
    made = bridge.mask_to_segmentation(slicer.mrmlScene, half, nodes["pre"], "half")
    settle()
    select(tab, "mask", made)
    return made


def found(patient, **options):
    return found_in(patient.scans["pre"], patient.scans["post"], **options)


# Uptake


def test_overlay_and_mask_are_what_the_library_finds(tab, nodes, patient):
    text = show(tab)
    expected, regions = found(patient)
    overlay, mask = tab.made["overlay"], tab.made["mask"]
    np.testing.assert_array_equal(array(overlay), expected.soft)
    np.testing.assert_array_equal(inside(mask, nodes["post"]), expected.binary)
    assert expected.binary.any()
    count = len(regions.regions)
    share = expected.share_of_brain
    assert text.startswith(f"{expected.volume_ml:.2f} ml in {count} regions, {share:.2%} of the")
    assert "by more than 0.1 means in the brain" in text
    assert (overlay.GetName(), mask.GetName()) == (f"Uptake: {REAL}", f"Uptake mask: {REAL}")
    for composite in composites():
        assert composite.GetBackgroundVolumeID() == nodes["post"].GetID()
        assert composite.GetForegroundVolumeID() == overlay.GetID()
        assert composite.GetForegroundOpacity() == 0.5


def test_what_is_below_the_overlay_shows_through(tab, nodes):
    show(tab)
    display = tab.made["overlay"].GetDisplayNode()
    assert display.GetApplyThreshold()
    assert (display.GetLowerThreshold(), display.GetUpperThreshold()) == (0.1, 1.0)
    assert (display.GetWindow(), display.GetLevel()) == (1.0, 0.5)
    assert "Iron" in display.GetColorNodeID()


def test_moving_the_threshold_changes_both_in_place(tab, nodes, patient):
    before = show(tab)
    made, count = dict(tab.made), slicer.mrmlScene.GetNumberOfNodes()
    text = set_threshold(tab, "0.4")
    expected, _regions = found(patient, threshold=0.4)
    assert tab.made == made
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    np.testing.assert_array_equal(array(made["overlay"]), expected.soft)
    np.testing.assert_array_equal(inside(made["mask"], nodes["post"]), expected.binary)
    assert text != before
    assert text.startswith(f"{expected.volume_ml:.2f} ml")


def test_the_threshold_is_explained_where_it_is_set(tab, nodes):
    from ContrastSynthPanel.scene.uptake_words import UNITS

    assert tab.form.words.text == (
        "Uptake, and each lesion, is where post exceeds pre by more than 0.1, each scan divided by "
        "its mean in the brain, or the outline of the head. Regions smaller than 0.03 ml are left "
        "out."
    )
    show(tab)
    assert "its mean in the brain. Regions" in tab.form.words.text
    pick(tab.form.level, UNITS["p99.9"])
    set_threshold(tab, "0.25")
    assert "more than 0.25 of the 99.9th percentile of pre" in tab.form.words.text


def test_nothing_is_made_before_it_is_asked_for(tab, nodes):
    count = slicer.mrmlScene.GetNumberOfNodes()
    set_threshold(tab, "0.4")
    assert (slicer.mrmlScene.GetNumberOfNodes(), tab.made) == (count, {})


@pytest.mark.parametrize("level", ["p95", "p99.9"])
def test_the_threshold_can_be_measured_in_other_levels(tab, nodes, patient, level):
    from ContrastSynthPanel.scene.uptake_words import UNITS

    show(tab)
    pick(tab.form.level, UNITS[level])
    text = done(tab)
    expected, _regions = found(patient, reference_level=level)
    np.testing.assert_array_equal(array(tab.made["overlay"]), expected.soft)
    assert UNITS[level] in text


def test_small_regions_are_left_out_and_said_apart(tab, nodes, patient):
    type_text(tab.form.smallest, "0")
    every = show(tab)
    assert "Left out" not in every
    assert "left out" not in tab.form.words.text
    type_text(tab.form.smallest, "0.5")
    text = done(tab)
    expected, regions = found(patient, smallest_ml=0.5)
    assert 0 < len(regions.regions) < len(found(patient, smallest_ml=0.0)[1].regions)
    np.testing.assert_array_equal(inside(tab.made["mask"], nodes["post"]), expected.binary)
    assert (array(tab.made["overlay"]) >= 0.5).sum() == expected.binary.sum()
    assert text.startswith(f"{regions.volume_ml:.2f} ml in {len(regions.regions)} regions")
    left_out = f"{regions.smaller_count} regions smaller than 0.5 ml, {regions.smaller_ml:.2f} ml"
    assert f"Left out: {left_out} together." in text
    whole = found(patient, smallest_ml=0.0)[0].volume_ml
    assert regions.volume_ml + regions.smaller_ml == pytest.approx(whole)


def test_the_map_of_the_method_itself_can_be_measured(panel, tab, nodes, result, patient):
    assert not tab.form.source.isVisible()
    made = add_result(panel, nodes["post"], result)
    show(tab)
    pick(tab.form.source, "The method's own map")
    done(tab)
    assert tab.form.threshold.value == 0.5
    assert not tab.form.level.isVisible()
    assert tab.form.words.text.startswith("Uptake is where the method's own map exceeds 0.5.")
    np.testing.assert_array_equal(array(tab.made["overlay"]), result.outputs["uptake"].array)
    set_threshold(tab, "0.8")
    image = result.outputs["uptake"]
    expected = list_regions(image.array, image.array > 0.8, image.grid)
    np.testing.assert_array_equal(inside(tab.made["mask"], nodes["post"]), expected.mask)
    assert {one.GetForegroundVolumeID() for one in composites()} == {tab.made["overlay"].GetID()}
    assert made["uptake"].GetID() != tab.made["overlay"].GetID()
    assert tab.made["mask"].GetName().startswith("SYNTHETIC uptake mask: uptake, physics_pre")
    pick(tab.form.source, "The difference of the scans")
    done(tab)
    assert tab.form.threshold.value == 0.1


def test_a_mask_bounds_the_uptake(tab, nodes, mask, patient):
    text = show(tab)
    within = inside(tab.made["mask"], nodes["post"])
    assert within.any()
    assert not within[:, :, 20:].any()
    assert "% of the mask:" in text


def test_the_overlay_moves_with_the_scan(tab, nodes):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([-1, 1, 1, 1])))
    for node in nodes.values():
        node.SetAndObserveTransformNodeID(transform.GetID())
    show(tab)
    assert tab.made["overlay"].GetParentTransformNode() is transform
    assert tab.made["mask"].GetParentTransformNode() is transform


# Which scans


def test_a_person_says_which_scan_is_which(panel, tab, patient):
    first = add_volume("series 3", patient.scans["post"])
    second = add_volume("series 4", patient.scans["pre"])
    settled(panel)
    select(tab, "input", first)
    select(tab, "reference", second)
    assert not tab.action.button.enabled
    assert tab.action.reason.text.startswith("Say under Threshold which scan it is")
    pick(tab.form.input_is, "The post-contrast scan")
    assert "'series 3' exceeds 'series 4'" in show(tab)


def test_a_virtual_patient_is_a_truth(panel, tab, result):
    from ContrastSynthPanel.scene import bridge, sample_data

    nodes = sample_data.load_brain(("pre", "post"), size=(48, 56, 40))
    settled(panel)
    show(tab)
    assert not any("SYNTHETIC" in node.GetName() for node in tab.made.values())
    made = add_result(panel, nodes["post"], result)
    text = show(tab)
    assert "synthetic" not in text
    assert "In the true scans" in text
    assert set(tab.made) == {"overlay", "mask", "enhancement"}
    assert "SYNTHETIC" in tab.made["overlay"].GetName()
    assert bridge.SYNTHETIC in made["pre"].GetAttributeNames()


def test_a_series_is_measured_from_its_first_phase_to_the_shown_one(panel, tab):
    from ContrastSynthPanel.scene import bridge, sample_data

    series = sample_data.load_breast(size=(48, 48, 16))
    settled(panel)
    browser = bridge.browser_of(series)
    browser.SetSelectedItemNumber(0)
    pump(lambda: tab.action.blocked)
    assert tab.action.reason.text.endswith(
        "shows its first phase, before the agent. Show a later one."
    )
    browser.SetSelectedItemNumber(2)
    pump(lambda: not tab.action.blocked)
    text = show(tab)
    name = series.GetName()
    assert f"'{name}, phase 3' exceeds '{name}, phase 1'" in text
    phases = bridge.series_from_sequence_node(series)
    expected, _regions = found_in(phases[0], phases[2])
    np.testing.assert_array_equal(array(tab.made["overlay"]), expected.soft)
    browser.SetSelectedItemNumber(3)
    pump(lambda: "Out of date: the post-contrast scan was" in tab.notice.text)


def test_patients_of_equal_names_have_results_of_their_own(panel, tab, patient):
    from ContrastSynthPanel.scene import sample_data

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    made = []
    for number, who in enumerate(("Miller", "Brown")):
        folder = tree.CreateSubjectItem(tree.GetSceneItemID(), who)
        scans = sample_patient(seed=number, size=(48, 56, 40)).scans
        for role, name in NAMES.items():
            node = add_volume(name, scans[role])
            node.SetOrigin(300.0 * number, 0.0, 0.0)
            sample_data.put_into(folder, node)
            if role == "post":
                post = node
        settled(panel)
        select(tab, "input", post)
        show(tab)
        made.append(dict(tab.made))
        for view in centres():  # the views look at this patient
            assert abs(view[0] - 300.0 * number) < 150
    assert made[0]["overlay"] is not made[1]["overlay"]
    assert made[1]["overlay"].GetName() == f"Uptake: Brown, {REAL}"
    assert not np.array_equal(array(made[0]["overlay"]), array(made[1]["overlay"]))
    assert not made[0]["mask"].GetDisplayNode().GetVisibility()


# Nothing stale


def test_a_number_is_out_of_date_once_half_the_mask_is_erased(tab, nodes, mask):
    text = show(tab)
    erase_half(mask, "mask")
    pump(lambda: tab.notice.text != text)
    assert tab.notice.text == "Out of date: the mask was changed since. Press 'Show uptake'."
    assert not tab.lesions_section.isVisible()
    after = show(tab)
    assert after.split(" ml")[0] != text.split(" ml")[0]
    assert tab.lesions_section.isVisible()


def test_a_number_is_out_of_date_once_a_scan_changes(tab, nodes):
    show(tab)
    array(nodes["pre"])[:, :, :16] *= 0.5
    slicer.util.arrayFromVolumeModified(nodes["pre"])
    pump(lambda: "the pre-contrast scan was changed since" in tab.notice.text)
    set_threshold(tab, "0.4")  # nothing is computed of what nobody asked for
    assert tab.notice.text.startswith("Out of date: the pre-contrast scan and the threshold were")
    assert show(tab).partition(" ")[0].replace(".", "").isdigit()


def test_other_volumes_wait_for_the_button(panel, tab, nodes, patient):
    text = show(tab)
    before = array(tab.made["overlay"]).copy()
    other = add_volume("T1 pre 2", sample_patient(seed=1, size=(48, 56, 40)).scans["pre"])
    settled(panel)
    select(tab, "reference", other)
    assert tab.notice.text.startswith("Out of date: the pre-contrast scan was")
    set_threshold(tab, "0.4")
    np.testing.assert_array_equal(array(tab.made["overlay"]), before)
    set_threshold(tab, "0.1")
    select(tab, "reference", nodes["pre"])  # what is shown is of these
    assert tab.notice.text == text


def test_an_own_name_is_kept(tab, nodes):
    show(tab)
    tab.made["mask"].SetName("for the board")
    set_threshold(tab, "0.2")
    show(tab)
    assert tab.made["mask"].GetName() == "for the board"
    assert tab.made["overlay"].GetName() == f"Uptake: {REAL}"


# In the background


@pytest.fixture(scope="module")
def large(patient):
    """The patient in the voxels of a usual scan of the head."""
    grid = Grid(LARGE)
    factors = np.divide(grid.shape, patient.brain.shape)
    return {role: Volume(zoom(patient.scans[role].array, factors, order=0), grid) for role in NAMES}


def longest_block_s(act, tab):
    """Return for how long Slicer stood still at worst; at best of three: others compute, too."""
    gc.collect()
    gc.disable()  # the pause of a collection is as long as the test session is large
    try:
        found = []
        for _ in range(3):
            act()
            found.append(pump(lambda: not tab.busy, 60.0).longest_block_s)
        return min(found)
    finally:
        gc.enable()


@pytest.mark.slow  # a time: on a busy machine it means nothing; make panel-times measures it
def test_a_large_volume_never_blocks(panel, tab, large):
    pre, post = (add_volume(NAMES[role], large[role]) for role in ("pre", "post"))
    made = large["pre"].with_array(large["pre"].array + 40.0, "a test")
    node = add_volume("SYNTHETIC pre", made)
    settled(panel)
    for role, one in {"input": post, "result": node, "reference": pre}.items():
        select(tab, role, one)
    assert tab.action.reason.text.startswith("Say under Threshold what the result is")
    pick(tab.form.input_is, "The pre-contrast scan")
    assert longest_block_s(lambda: press(tab.action.button), tab) < 0.1
    assert "In the true scans" in tab.notice.text, tab.notice.text
    values = iter(("0.15", "0.2", "0.25"))
    assert longest_block_s(lambda: type_text(tab.form.threshold, next(values)), tab) < 0.1
    assert "by more than 0.25 means" in tab.notice.text


def test_the_newest_threshold_wins(tab, nodes):
    show(tab)
    texts = set()
    for value in ("0.15", "0.2", "0.25"):
        type_text(tab.form.threshold, value)
        pump(lambda: tab.work.running)
    pump(lambda: texts.add(tab.work.label.text) or not tab.busy)
    assert "Measuring the uptake" in texts
    assert "by more than 0.25 means" in tab.notice.text


def test_it_can_be_cancelled(tab, nodes):
    press(tab.action.button)
    assert tab.work.cancel_button.isVisible()
    assert not tab.action.button.enabled
    press(tab.work.cancel_button)
    assert not tab.work.cancel_button.isVisible()
    assert tab.notice.text == "Cancelled."
    assert (tab.made, slicer.util.getNodes("Uptake*")) == ({}, {})
    assert " ml" in show(tab)
    type_text(tab.form.threshold, "0.4")
    pump(tab.work.cancel_button.isVisible)
    press(tab.work.cancel_button)
    assert tab.notice.text == "Out of date: the threshold was changed since. Press 'Show uptake'."


def test_a_scan_that_is_deleted_meanwhile_ends_it(tab, nodes):
    press(tab.action.button)
    slicer.mrmlScene.RemoveNode(nodes["pre"])
    assert not tab.busy
    assert tab.notice.text == "It was stopped: one of its scans was deleted."
    assert tab.made == {}


def test_a_closed_scene_ends_what_is_computed(tab, nodes):
    press(tab.action.button)
    close_scene()
    assert not tab.busy
    pump(timeout_s=0.2)
    assert tab.made == {}


# How it is drawn


def test_outline_fill_and_opacity(tab, nodes):
    show(tab)
    display = tab.made["mask"].GetDisplayNode()
    assert (display.GetVisibility2DOutline(), display.GetVisibility2DFill()) == (1, 0)
    pick(tab.display.regions, "Filled")
    type_text(tab.display.opacity, "30")
    assert display.GetVisibility2DFill()
    assert display.GetOpacity2DFill() == pytest.approx(0.3)
    assert {one.GetForegroundOpacity() for one in composites()} == {0.3}
    press(tab.display.overlay)
    assert {one.GetForegroundOpacity() for one in composites()} == {0.0}
    pick(tab.display.regions, "Not at all")
    assert not display.GetVisibility()


def test_the_opacity_leaves_other_foregrounds_alone(tab, nodes):
    show(tab)
    slicer.util.setSliceViewerLayers(foreground=nodes["pre"], foregroundOpacity=0.9)
    type_text(tab.display.opacity, "30")
    assert {one.GetForegroundOpacity() for one in composites()} == {0.9}


def test_the_mask_of_another_pair_is_hidden(panel, tab, nodes, patient):
    show(tab)
    before = tab.made["mask"]
    other = add_volume("T1 low dose", patient.scans["low"])
    settled(panel)
    select(tab, "input", other)
    select(tab, "reference", nodes["pre"])
    show(tab)
    assert tab.made["mask"] is not before
    assert tab.made["mask"].GetDisplayNode().GetVisibility()
    assert not before.GetDisplayNode().GetVisibility()


def test_the_overlay_stays_when_the_tab_is_left(panel, tab, nodes):
    show(tab)
    show_tab(panel, "synthesise")
    assert {one.GetForegroundVolumeID() for one in composites()} == {tab.made["overlay"].GetID()}


def test_the_views_are_put_back_when_the_tab_is_left_if_one_wants(panel, tab, nodes):
    slicer.util.setSliceViewerLayers(nodes["pre"], foreground=None)
    show(tab)
    press(tab.display.keep)
    mine = composites()[0]
    mine.SetForegroundVolumeID(nodes["pre"].GetID())  # a person's own
    show_tab(panel, "synthesise")
    assert {one.GetBackgroundVolumeID() for one in composites()} == {nodes["pre"].GetID()}
    assert [one.GetForegroundVolumeID() for one in composites()] == [
        nodes["pre"].GetID(),
        None,
        None,
    ]
    assert not tab.made["mask"].GetDisplayNode().GetVisibility()
    show_tab(panel, "uptake")
    assert {one.GetForegroundVolumeID() for one in composites()} == {tab.made["overlay"].GetID()}
    assert tab.made["mask"].GetDisplayNode().GetVisibility()


# Marks


def test_what_comes_from_scans_is_marked_as_computed_only(tab, nodes):
    from ContrastSynthPanel.scene import bridge

    show(tab)
    for node in tab.made.values():
        assert "SYNTHETIC" not in node.GetName()
        assert node.GetAttribute(bridge.SYNTHETIC) == (
            "uptake mask by ContrastSynth, for research only"
        )


def test_what_comes_from_a_synthetic_scan_is_marked_so(tab, nodes, synthetic):
    from ContrastSynthPanel.scene import bridge

    show(tab)
    assert set(tab.made) == {"overlay", "mask", "enhancement"}
    for node in tab.made.values():
        assert node.GetName().startswith("SYNTHETIC ")
        assert "from a synthetic volume" in node.GetAttribute(bridge.SYNTHETIC)
        assert "physics_pre" in node.GetAttribute(bridge.SYNTHETIC)


# What goes wrong


def test_what_is_missing_stands_beside_the_button(panel, tab, patient):
    assert not tab.action.button.enabled
    assert (
        tab.action.reason.text
        == "Choose an input and its reference, a result, or a dynamic series."
    )
    add_volume("T1 pre", patient.scans["pre"])
    settled(panel)
    assert tab.action.reason.text == (
        "The uptake is the difference of two scans. There is 'T1 pre'; the post-contrast scan is "
        "missing: choose it as reference."
    )
    add_volume("T1 post", patient.scans["post"])
    settled(panel)
    assert tab.action.button.enabled
    assert not tab.action.reason.isVisible()


def test_other_grids_are_reported_and_can_be_resampled(panel, tab, nodes):
    other = add_volume("coarse", sample_patient(size=(40, 48, 32)).scans["pre"])
    settled(panel)
    select(tab, "reference", other)
    text = show(tab)
    assert text == "'coarse': not on the grid of 'T1 post Gd'."
    assert "size, voxels" in tab.notice.box.toolTip
    assert tab.made == {}
    press(tab.notice.resample_button)
    assert done(tab).split(" ml")[0].replace(".", "").isdigit()
    assert not tab.notice.resample_button.isVisible()
    assert array(tab.made["overlay"]).shape == array(nodes["post"]).shape


def test_resampling_is_allowed_for_these_scans_only(panel, tab, nodes):
    """Nor is the trouble of other scans said any more."""
    coarse = sample_patient(size=(40, 48, 32)).scans["pre"]
    first, second = (add_volume(name, coarse) for name in ("coarse", "another"))
    settled(panel)
    select(tab, "reference", first)
    show(tab)
    select(tab, "reference", nodes["pre"])
    assert tab.notice.text == ""
    assert not tab.notice.resample_button.isVisible()
    select(tab, "reference", first)
    show(tab)
    press(tab.notice.resample_button)
    done(tab)
    select(tab, "reference", second)
    assert show(tab) == "'another': not on the grid of 'T1 post Gd'."


def test_the_offer_to_resample_is_of_no_use_once_a_scan_is_missing(panel, tab, nodes):
    add_volume("coarse", sample_patient(size=(40, 48, 32)).scans["pre"])
    settled(panel)
    select(tab, "reference", slicer.util.getNode("coarse"))
    press(tab.action.button)
    select(tab, "reference", None)  # before the grids are compared
    done(tab)
    if tab.notice.resample_button.isVisible():
        press(tab.notice.resample_button)
        done(tab)
    assert panel.trouble.text == ""


def test_volumes_that_do_not_overlap_are_reported(tab, nodes):
    nodes["pre"].SetOrigin(5000, 0, 0)
    show(tab)
    press(tab.notice.resample_button)
    text = done(tab)
    assert text.startswith("'T1 pre' does not overlap 'T1 post Gd'. Register them first")
    assert not tab.notice.resample_button.isVisible()


def test_an_empty_volume_is_reported_and_the_tab_stays_usable(panel, tab, nodes):
    empty = slicer.mrmlScene.AddNewNodeByClass(VOLUME, "empty")
    settled(panel)
    select(tab, "reference", empty)
    assert "empty has no voxels" in show(tab)
    select(tab, "reference", nodes["pre"])
    assert " ml" in show(tab)


def test_a_hidden_mask_is_reported_as_long_as_it_is_hidden(panel, tab, nodes, mask, synthetic):
    select(tab, "mask", mask)
    buttons = {
        "uptake": tab.action,
        "quality": panel.tabs["quality"].run.action,
        "synthesise": panel.synthesise.run.action,
    }
    for visible in (False, True):
        mask.GetDisplayNode().SetSegmentVisibility("mask", visible)
        for key, action in buttons.items():
            show_tab(panel, key)
            pump(timeout_s=0.2)
            assert ("'half' has no segment that is visible" in action.reason.text) != visible, key
            assert action.button.isEnabled() == visible, key


def test_without_scikit_image_a_whole_head_needs_a_mask(tab, nodes, patient, monkeypatch):
    from ContrastSynthPanel import dependencies
    from ContrastSynthPanel.scene import foregrounds

    def without(volumes, mask=None):
        if mask is None:
            raise ModuleNotFoundError("No module named 'skimage'")
        return foreground(volumes, mask)

    monkeypatch.setattr(foregrounds, "foreground", without)
    monkeypatch.setattr(dependencies, "lacking", lambda *groups: ["scikit-image>=0.24"])
    text = show(tab)
    assert "scikit-image, which is not installed" in text
    assert "choose a mask" in text
    assert tab.dependencies.button.isVisible()


def test_a_whole_head_is_no_brain(panel, tab, nodes, monkeypatch):
    from ContrastSynthPanel.scene import foregrounds

    from ContrastSynthLib.preprocessing.foreground import GUESS_MESSAGE, Foreground

    def guess(volumes, mask=None):
        return Foreground(foreground(volumes, mask).mask, "guess", GUESS_MESSAGE)

    monkeypatch.setattr(foregrounds, "foreground", guess)
    first = show(tab).splitlines()[0]
    assert "% of the outline of the head:" in first
    assert "brain" not in first
    assert "brain" not in tab.form.words.text
    assert "--mask" not in tab.notice.text


def test_scans_in_the_wrong_order_are_warned_of(tab, nodes):
    pick(tab.form.input_is, "The pre-contrast scan")
    assert "\n\N{BULLET} " in show(tab)
    assert "swapped" in tab.notice.text


# What a scene keeps


def test_a_closed_scene_leaves_an_empty_tab(tab, nodes, synthetic):
    show(tab)
    close_scene()
    pump(timeout_s=0.1)
    assert (tab.case.nodes(), tab.made, tab.asked) == ({}, {}, None)
    assert not tab.lesions_section.isVisible()
    assert not tab.notice.box.isVisible()
    assert not tab.action.button.enabled


def test_deleted_results_are_made_again(panel, tab, nodes):
    show(tab)
    for node in tab.made.values():
        slicer.mrmlScene.RemoveNode(node)
    settled(panel)
    assert tab.state()["results"] == {}
    assert "Out of date: the result in the scene was" in tab.notice.text
    show(tab)
    assert all(slicer.mrmlScene.IsNodePresent(node) for node in tab.made.values())


def test_state_and_results_are_saved_and_restored(panel, tab, nodes, synthetic, result, tmp_path):
    show(tab)
    set_threshold(tab, "0.2")
    type_text(tab.form.smallest, "0.1")
    pick(tab.display.regions, "Filled")
    type_text(tab.display.opacity, "70")
    done(tab)
    tab.table.next_button.click()
    before, text, rows = named(tab.state()), tab.notice.text, list(tab.table.rows)
    save_and_reopen(tmp_path)
    pump(lambda: tab.asked is not None)
    settled(panel)
    pump(timeout_s=0.2)
    after = named(tab.state())
    assert after == before
    assert (tab.notice.text, tab.table.rows) == (text, rows)
    assert tab.table.table.rowCount == len(rows)
    overlays = [n for n in slicer.util.getNodesByClass(VOLUME) if "uptake: T1" in n.GetName()]
    set_threshold(tab, "0.4")
    assert overlays == [tab.made["overlay"]]
    pair = result.outputs["pre"], sample_patient(size=(48, 56, 40)).scans["post"]
    expected, _regions = found_in(*pair, threshold=0.4, smallest_ml=0.1)
    np.testing.assert_allclose(array(overlays[0]), expected.soft, atol=1e-6)


def test_what_was_out_of_date_is_so_when_the_scene_is_opened(panel, tab, nodes, mask, tmp_path):
    show(tab)
    erase_half(mask, "mask")
    pump(lambda: "Out of date" in tab.notice.text)
    save_and_reopen(tmp_path)
    pump(lambda: tab.asked is not None)
    settled(panel)
    assert "Out of date" in tab.notice.text


def named(state):
    """Return a state with the names of its nodes in their places."""
    if isinstance(state, dict):
        return {key: named(value) for key, value in state.items()}
    if isinstance(state, list):
        return [named(one) for one in state]
    return state.GetName() if isinstance(state, slicer.vtkMRMLNode) else state


def save_and_reopen(folder):
    """Save the scene with its volumes and segmentations, close it, and open it again."""
    scene, path = slicer.mrmlScene, str(folder / "scene.mrml")
    kinds = {VOLUME: ("VolumeArchetype", "nrrd"), SEGMENTATION: ("Segmentation", "seg.nrrd")}
    for kind, (storage_kind, suffix) in kinds.items():
        for number, node in enumerate(slicer.util.getNodesByClass(kind)):
            storage = scene.AddNewNodeByClass(f"vtkMRML{storage_kind}StorageNode")
            storage.SetFileName(str(folder / f"{kind}_{number}.{suffix}"))
            node.SetAndObserveStorageNodeID(storage.GetID())
            assert storage.WriteData(node)
    scene.SetURL(path)
    assert scene.Commit()
    close_scene()
    pump(timeout_s=0.3)
    scene.SetURL(path)
    scene.Import()


def test_nothing_is_cut_off_in_a_narrow_panel(tab, nodes, synthetic):
    nodes["pre"].SetName("a_very_long_name_of_a_series_as_scanners_give_them_without_spaces_T1")
    show(tab)
    tab.notice.show("failed", "x" * 500)
    whole = tab.widget.window()
    assert whole.minimumSizeHint.width() <= WIDTH
    whole.resize(WIDTH, 900)
    settle()
    for combo in (tab.form.level, tab.form.source, tab.display.shown, tab.display.regions):
        widest = max(combo.fontMetrics().horizontalAdvance(text) for text in entries(combo))
        assert widest <= combo.width - ARROW
