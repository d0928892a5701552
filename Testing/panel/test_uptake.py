"""The tab "Uptake", driven as a person drives it, in the test host."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, entries, pick, press, pump, settle, type_text
from scans import add_volume, show_tab

from ContrastSynthLib.analysis.evaluation import enhancement_of
from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.preprocessing.foreground import foreground

WIDTH, ARROW = 400, 30
VOLUME, SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"
NAMES = {"pre": "T1 pre", "post": "T1 post Gd"}
REAL = "Uptake: T1 post Gd - T1 pre"


@pytest.fixture
def tab(panel):
    return show_tab(panel, "uptake")


@pytest.fixture
def nodes(tab, patient):
    found = {role: add_volume(name, patient.scans[role]) for role, name in NAMES.items()}
    settled(tab)
    return found


@pytest.fixture
def synthetic(tab, nodes, result):
    """The scene with a synthetic pre scan; the tab has picked it."""
    from ContrastSynthPanel.scene import run_results

    made = run_results.add_result(slicer.mrmlScene, result, nodes["post"])
    settled(tab)
    return made["pre"]


def settled(tab):
    pump(lambda: not tab.inputs.timer.active and not tab._timer.active)


def show(tab):
    """Press "Show uptake"; return the message."""
    press(tab.show_button)
    return tab.notice.box.plainText


def found_in(patient, **options):
    pair = [patient.scans[role] for role in ("pre", "post")]
    return uptake(*pair, foreground(pair).mask, **options)


def array(node):
    return slicer.util.arrayFromVolume(node)


def inside(mask, reference):
    from ContrastSynthPanel.scene import bridge

    return bridge.mask_from_segmentation(mask, reference).array > 0


def composites():
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def centres():
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [[view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] for view in views]


def click(tab, row):
    tab.table.widget.cellClicked.emit(row, 0)


# Uptake


def test_overlay_and_mask_are_what_the_library_finds(tab, nodes, patient):
    text = show(tab)
    expected = found_in(patient)
    overlay, mask = tab.made["overlay"], tab.made["mask"]
    np.testing.assert_array_equal(array(overlay), expected.soft)
    np.testing.assert_array_equal(inside(mask, nodes["post"]), expected.binary)
    assert expected.binary.any()
    assert text.startswith(f"{expected.volume_ml:.2f} ml, {expected.share_of_brain:.2%} of the")
    assert "by more than 0.1 means of the brain" in text
    assert (overlay.GetName(), mask.GetName()) == (REAL, f"{REAL} mask")
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
    type_text(tab.threshold, "0.4")
    settled(tab)
    expected = found_in(patient, threshold=0.4)
    assert tab.made == made
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    np.testing.assert_array_equal(array(made["overlay"]), expected.soft)
    np.testing.assert_array_equal(inside(made["mask"], nodes["post"]), expected.binary)
    text = tab.notice.box.plainText
    assert text != before
    assert text.startswith(f"{expected.volume_ml:.2f} ml")


def test_other_volumes_wait_for_the_button_which_says_so(tab, nodes, patient):
    show(tab)
    before = array(tab.made["overlay"]).copy()
    pick(tab.inputs.selectors["post"], add_volume("T1 low dose", patient.scans["low"]))
    type_text(tab.threshold, "0.4")
    settled(tab)
    np.testing.assert_array_equal(array(tab.made["overlay"]), before)
    assert tab.show_button.text == "Show uptake of these volumes"
    show(tab)
    assert tab.show_button.text == "Show uptake"


def test_nothing_is_made_before_it_is_asked_for(tab, nodes):
    count = slicer.mrmlScene.GetNumberOfNodes()
    type_text(tab.threshold, "0.4")
    settled(tab)
    assert (slicer.mrmlScene.GetNumberOfNodes(), tab.made) == (count, {})


@pytest.mark.parametrize("level", ["p95", "p99.9"])
def test_the_threshold_can_be_measured_in_other_levels(tab, nodes, patient, level):
    from ContrastSynthPanel.scene.uptake_results import UNITS

    show(tab)
    pick(tab.level_combo, UNITS[level])
    settled(tab)
    expected = found_in(patient, reference_level=level)
    np.testing.assert_array_equal(array(tab.made["overlay"]), expected.soft)
    assert UNITS[level] in tab.notice.box.plainText


def test_a_ready_made_map_is_taken(tab, nodes, synthetic, result):
    name = "T1 post Gd uptake SYNTHETIC"
    pick(tab.inputs.selectors["map"], slicer.util.getNode(name))
    assert tab.threshold.value == 0.5
    assert not tab.level_combo.enabled
    show(tab)
    np.testing.assert_array_equal(array(tab.made["overlay"]), result.outputs["uptake"].array)
    type_text(tab.threshold, "0.8")
    settled(tab)
    expected = result.outputs["uptake"].array > 0.8
    np.testing.assert_array_equal(inside(tab.made["mask"], nodes["post"]), expected)
    pick(tab.inputs.selectors["map"], None)
    assert tab.threshold.value == 0.1


def test_a_map_of_another_scale_is_refused(tab, nodes):
    pick(tab.inputs.selectors["map"], nodes["pre"])
    pick(tab.inputs.selectors["pre"], None)
    text = show(tab)
    assert text.startswith("'T1 pre' has values from 0 to ")
    assert text.endswith("A map of uptake has 0 to 1.")
    assert tab.made == {}


def test_a_mask_bounds_the_uptake(tab, nodes, patient):
    from ContrastSynthPanel.scene import bridge

    left = np.zeros(patient.brain.shape, np.float32)
    left[:, :, :20] = patient.brain[:, :, :20]
    half = patient.scans["pre"].with_array(left)
    mask = bridge.mask_to_segmentation(slicer.mrmlScene, half, nodes["pre"], "half")
    pick(tab.inputs.selectors["mask"], mask)
    show(tab)
    found = inside(tab.made["mask"], nodes["post"])
    assert found.any()
    assert not (found & (left == 0)).any()


def test_the_overlay_moves_with_the_scan(tab, nodes):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([-1, 1, 1, 1])))
    for node in nodes.values():
        node.SetAndObserveTransformNodeID(transform.GetID())
    show(tab)
    assert tab.made["overlay"].GetParentTransformNode() is transform
    assert tab.made["mask"].GetParentTransformNode() is transform


# How it is drawn


def test_outline_fill_and_opacity(tab, nodes):
    show(tab)
    display = tab.made["mask"].GetDisplayNode()
    assert (display.GetVisibility2DOutline(), display.GetVisibility2DFill()) == (1, 0)
    pick(tab.regions_combo, "Filled")
    type_text(tab.opacity, "30")
    assert display.GetVisibility2DFill()
    assert display.GetOpacity2DFill() == pytest.approx(0.3)
    assert {one.GetForegroundOpacity() for one in composites()} == {0.3}
    press(tab.overlay_check)
    assert {one.GetForegroundOpacity() for one in composites()} == {0.0}
    pick(tab.regions_combo, "Not at all")
    assert not display.GetVisibility()


def test_the_opacity_leaves_other_foregrounds_alone(tab, nodes):
    show(tab)
    slicer.util.setSliceViewerLayers(foreground=nodes["pre"], foregroundOpacity=0.9)
    type_text(tab.opacity, "30")
    assert {one.GetForegroundOpacity() for one in composites()} == {0.9}


def test_the_mask_of_another_pair_is_hidden(tab, nodes, patient):
    show(tab)
    before = tab.made["mask"]
    pick(tab.inputs.selectors["post"], add_volume("T1 low dose", patient.scans["low"]))
    show(tab)
    assert tab.made["mask"] is not before
    assert tab.made["mask"].GetDisplayNode().GetVisibility()
    assert not before.GetDisplayNode().GetVisibility()


# Missed and invented enhancement


def test_a_result_is_looked_at_and_the_scan_is_its_reference(tab, nodes, synthetic):
    expected = {"pre": synthetic, "post": nodes["post"], "reference": nodes["pre"]}
    assert tab.inputs.nodes() == expected
    slicer.mrmlScene.RemoveNode(synthetic)
    settled(tab)
    assert tab.inputs.nodes() == nodes


def test_a_person_s_choice_is_kept(tab, nodes, result):
    from ContrastSynthPanel.scene import run_results

    pick(tab.inputs.selectors["pre"], nodes["pre"])
    run_results.add_result(slicer.mrmlScene, result, nodes["post"])
    settled(tab)
    assert tab.inputs.nodes() == nodes


def test_map_and_table_are_what_evaluate_finds(tab, nodes, synthetic, patient, result):
    text = show(tab)
    pre, post = (patient.scans[role] for role in ("pre", "post"))
    expected = enhancement_of(pre, result.outputs["pre"], pre=pre, post=post)
    node = tab.made["enhancement"]
    np.testing.assert_array_equal(array(node), expected.map)
    assert array(node).dtype == np.uint8
    assert {lesion.kind for lesion in expected.lesions} == {"found", "missed"}
    assert tab.table.widget.rowCount == len(expected.lesions)
    rows = tab.table.rows
    assert [row["kind"] for row in rows] == sorted((r["kind"] for r in rows), reverse=True)
    shown = {row["r_mm"]: row["volume_ml"] for row in rows if row["kind"] == "missed"}
    for lesion in expected.lesions:
        if lesion.kind == "missed":
            assert shown[lesion.inside_ras_mm[0]] is not None
    assert f"missed {len([r for r in rows if r['kind'] == 'missed'])} " in text
    assert f"({expected.missed_ml:.2f} ml)" in text
    texts = [tab.table.widget.item(0, column).text() for column in range(4)]
    assert texts[:2] == ["missed", f"{rows[0]['volume_ml']:.2f}"]
    table = slicer.util.getNode(f"{node.GetName()} lesions")
    assert table.GetNumberOfRows() == len(rows)


def test_the_lesion_threshold_changes_the_map_in_place(tab, nodes, synthetic, patient, result):
    show(tab)
    node = tab.made["enhancement"]
    type_text(tab.lesion_threshold, "0.3")
    settled(tab)
    pre, post = (patient.scans[role] for role in ("pre", "post"))
    expected = enhancement_of(pre, result.outputs["pre"], pre=pre, post=post, threshold=0.3)
    assert tab.made["enhancement"] is node
    np.testing.assert_array_equal(array(node), expected.map)
    assert tab.table.widget.rowCount == len(expected.lesions)


def test_no_lesion_at_all_is_an_empty_table(tab, nodes, synthetic):
    pick(tab.inputs.selectors["post"], nodes["pre"])
    pick(tab.inputs.selectors["reference"], nodes["post"])
    type_text(tab.lesion_threshold, "1")
    text = show(tab)
    assert tab.table.widget.rowCount == 0
    assert "Lesions: missed 0 (0.00 ml), invented 0 (0.00 ml), found 0 (0.00 ml)." in text
    assert not array(tab.made["enhancement"]).any()


def test_the_lesions_are_not_searched_again_for_another_uptake(tab, nodes, synthetic, monkeypatch):
    from ContrastSynthPanel.scene import uptake_results

    show(tab)
    text = tab.notice.box.plainText.splitlines()[1]
    monkeypatch.setattr(uptake_results, "enhancement_of", lambda *scans, **options: 1 / 0)
    type_text(tab.threshold, "0.4")
    settled(tab)
    assert tab.notice.box.plainText.splitlines()[1] == text
    assert "enhancement" in tab.made


def test_a_changed_scan_is_read_again(tab, nodes, synthetic):
    before = show(tab)
    array(synthetic)[:, :, :16] *= 0.5
    slicer.util.arrayFromVolumeModified(synthetic)
    type_text(tab.threshold, "0.11")
    settled(tab)
    after = tab.notice.box.plainText
    assert "invented 0 " in before
    assert "invented 0 " not in after


def test_a_click_on_a_hollow_lesion_shows_a_place_inside_it(tab, nodes, synthetic):
    from ContrastSynthPanel.scene import bridge

    k, j, i = np.indices(array(nodes["pre"]).shape)
    radius = np.sqrt((k - 20) ** 2 + (j - 28) ** 2 + (i - 24) ** 2)
    shell = (radius >= 6) & (radius < 8)
    for name in ("pre", "post"):
        array(nodes[name])[radius < 11] = 300.0
    array(synthetic)[radius < 11] = 300.0
    array(nodes["post"])[shell] = array(synthetic)[shell] = 900.0  # hidden in the synthetic pre
    for node in (*nodes.values(), synthetic):
        slicer.util.arrayFromVolumeModified(node)
    type_text(tab.lesion_threshold, "0.3")
    show(tab)
    assert tab.table.widget.item(0, 0).text() == "missed"
    click(tab, 0)  # the largest of them
    grid = bridge.world_grid(tab.made["enhancement"], mask=True)
    for centre in centres():
        place = np.rint(grid.index_from_ras(centre)).astype(int)
        assert shell[tuple(place)]


def test_a_click_on_a_row_shows_the_lesion_in_all_views(tab, nodes, synthetic):
    show(tab)
    row = tab.table.rows[3]
    click(tab, 3)
    for centre in centres():
        assert centre == pytest.approx([row["r_mm"], row["a_mm"], row["s_mm"]], abs=1e-6)
    node = tab.made["enhancement"]
    assert {one.GetLabelVolumeID() for one in composites()} == {node.GetID()}
    assert {one.GetForegroundOpacity() for one in composites()} == {0.0}
    assert not tab.made["mask"].GetDisplayNode().GetVisibility()
    pick(tab.shown_combo, "Uptake")
    assert {one.GetLabelVolumeID() for one in composites()} == {None}
    assert {one.GetForegroundOpacity() for one in composites()} == {0.5}


def test_lesions_are_drawn_as_outlines_or_filled(tab, nodes, synthetic):
    show(tab)
    click(tab, 0)
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    assert all(view.GetUseLabelOutline() for view in views)
    pick(tab.regions_combo, "Filled")
    assert not any(view.GetUseLabelOutline() for view in views)
    assert {one.GetLabelOpacity() for one in composites()} == {0.5}


def test_the_map_names_its_colours(tab, nodes, synthetic):
    show(tab)
    colours = tab.made["enhancement"].GetDisplayNode().GetColorNode()
    names = [colours.GetColorName(value) for value in range(colours.GetNumberOfColors())]
    assert names[1:4] == ["found", "missed", "invented"]


def test_a_synthetic_post_scan_is_judged_too(tab, nodes, patient):
    from ContrastSynthPanel.scene import bridge

    made = patient.scans["low"].with_array(patient.scans["low"].array, "a test")
    node = add_volume("made", made)
    node.SetAttribute(bridge.SYNTHETIC, "a test")
    for role, chosen in (("post", node), ("reference", nodes["post"])):
        pick(tab.inputs.selectors[role], chosen)
    show(tab)
    pre, post = (patient.scans[role] for role in ("pre", "post"))
    expected = enhancement_of(post, made, pre=pre, post=post)
    np.testing.assert_array_equal(array(tab.made["enhancement"]), expected.map)


def test_without_a_synthetic_scan_the_uptake_is_shown_and_it_is_reported_why_no_more(tab, nodes):
    other = add_volume("other", sample_patient(seed=1, size=(48, 56, 40)).scans["pre"])
    pick(tab.inputs.selectors["reference"], other)
    text = show(tab)
    assert "Neither 'T1 pre' nor 'T1 post Gd' is marked as synthetic" in text
    assert "put SYNTHETIC into its name" in text
    assert set(tab.made) == {"overlay", "mask"}
    nodes["pre"].SetName("T1 pre SYNTHETIC")
    assert "marked as synthetic" not in show(tab)
    assert "enhancement" in tab.made


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
        assert "SYNTHETIC" in node.GetName()
        assert "from a synthetic volume" in node.GetAttribute(bridge.SYNTHETIC)
        assert "physics_pre" in node.GetAttribute(bridge.SYNTHETIC)


# What goes wrong


def test_the_button_says_what_is_missing(tab, patient):
    assert not tab.show_button.enabled
    assert tab.show_button.toolTip == "Choose a volume for 'Pre-contrast'."
    add_volume("T1 pre", patient.scans["pre"])
    settled(tab)
    assert tab.show_button.toolTip == "Choose a volume for 'Post-contrast'."
    pick(tab.inputs.selectors["post"], tab.inputs.nodes()["pre"])
    assert tab.show_button.toolTip == "'T1 pre' is chosen twice."
    assert not tab.show_button.enabled


def test_colour_images_and_label_maps_are_not_offered(tab, nodes):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    offered = entries(tab.inputs.selectors["pre"])
    assert {"colours", "labels"}.isdisjoint(offered)
    assert "labels" in entries(tab.inputs.selectors["mask"])


def test_other_grids_are_reported_and_can_be_resampled(tab, nodes):
    other = add_volume("coarse", sample_patient(size=(40, 48, 32)).scans["pre"])
    pick(tab.inputs.selectors["pre"], other)
    text = show(tab)
    assert text == "'coarse': not on the grid of 'T1 post Gd'."
    assert "size, voxels" in tab.notice.box.toolTip
    assert tab.made == {}
    press(tab.notice.resample_button)
    assert tab.notice.box.plainText.split(" ml")[0].replace(".", "").isdigit()
    assert not tab.notice.resample_button.isVisible()
    assert array(tab.made["overlay"]).shape == array(nodes["post"]).shape


def test_volumes_that_do_not_overlap_are_reported(tab, nodes):
    nodes["pre"].SetOrigin(5000, 0, 0)
    show(tab)
    press(tab.notice.resample_button)
    text = tab.notice.box.plainText
    assert text.startswith("'T1 pre' does not overlap 'T1 post Gd'. Register them first")
    assert not tab.notice.resample_button.isVisible()


def test_an_empty_volume_is_reported_and_the_tab_stays_usable(tab, nodes):
    empty = slicer.mrmlScene.AddNewNodeByClass(VOLUME, "empty")
    pick(tab.inputs.selectors["pre"], empty)
    assert "empty has no voxels" in show(tab)
    pick(tab.inputs.selectors["pre"], nodes["pre"])
    assert " ml" in show(tab)


def test_without_scikit_image_a_whole_head_needs_a_mask(tab, nodes, patient, monkeypatch):
    from ContrastSynthPanel.scene import uptake_results

    def without(volumes, mask=None):
        if mask is None:
            raise ModuleNotFoundError("No module named 'skimage'")
        return foreground(volumes, mask)

    monkeypatch.setattr(uptake_results, "foreground", without)
    text = show(tab)
    assert "scikit-image, which is not installed" in text
    assert "choose a mask" in text


def test_scans_in_the_wrong_order_are_warned_of(tab, nodes):
    pick(tab.inputs.selectors["pre"], nodes["post"])
    pick(tab.inputs.selectors["post"], nodes["pre"])
    assert "\n\N{BULLET} " in show(tab)


# What a scene keeps


def test_a_closed_scene_leaves_an_empty_tab(tab, nodes, synthetic):
    show(tab)
    close_scene()
    settled(tab)
    assert (tab.inputs.nodes(), tab.made, tab.table.widget.rowCount) == ({}, {}, 0)
    assert not tab.notice.box.isVisible()
    assert not tab.show_button.enabled


def test_deleted_results_are_made_again(tab, nodes):
    show(tab)
    for node in tab.made.values():
        slicer.mrmlScene.RemoveNode(node)
    settled(tab)
    assert tab.state()["results"] == {}
    show(tab)
    assert all(slicer.mrmlScene.IsNodePresent(node) for node in tab.made.values())


def test_state_and_results_are_saved_and_restored(tab, nodes, synthetic, result, tmp_path):
    show(tab)
    type_text(tab.threshold, "0.2")
    type_text(tab.lesion_threshold, "0.3")
    pick(tab.regions_combo, "Filled")
    type_text(tab.opacity, "70")
    settled(tab)
    click(tab, 0)
    before, text, rows = named(tab.state()), tab.notice.box.plainText, list(tab.table.rows)
    save_and_reopen(tmp_path)
    pump(lambda: tab.inputs.nodes() != {})
    settled(tab)
    assert named(tab.state()) == before
    assert (tab.notice.box.plainText, tab.table.rows) == (text, rows)
    assert tab.table.widget.rowCount == len(rows)
    overlays = [n for n in slicer.util.getNodesByClass(VOLUME) if n.GetName().startswith("Uptake")]
    type_text(tab.threshold, "0.4")
    settled(tab)
    assert overlays == [tab.made["overlay"]]
    pair = result.outputs["pre"], sample_patient(size=(48, 56, 40)).scans["post"]
    expected = uptake(*pair, foreground(pair).mask, threshold=0.4)
    np.testing.assert_allclose(array(overlays[0]), expected.soft, atol=1e-6)


def named(state):
    """Return a state with the names of its nodes in their places."""
    if isinstance(state, dict):
        return {key: named(value) for key, value in state.items()}
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
    for combo in (tab.level_combo, tab.shown_combo, tab.regions_combo):
        widest = max(combo.fontMetrics().horizontalAdvance(text) for text in entries(combo))
        assert widest <= combo.width - ARROW
