"""Results as DICOM: where they lie, what their values are, what they say of themselves."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making_dicom import PATIENT, ROTATION, enhanced, save, slices, voxels
from turned_volumes import stored

pytest.importorskip("highdicom")
import pydicom

from ContrastSynthLib.cli import main
from ContrastSynthLib.dicom_export import marks
from ContrastSynthLib.dicom_export.export import export
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.reader import read_dicom, read_dicom_mask
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.registry.volumes import TAKEN_UP
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.running.stored_result import StoredResult

SHAPE = (8, 40, 36)
OF_ITS_TIME = "(0008,001c)"
"""SyntheticData: the validator of the distribution is older than this attribute."""
STUDY = {
    **{"StudyInstanceUID": "1.2.3.1", "FrameOfReferenceUID": "1.2.3.2"},
    **{"StudyDate": "20240105", "AccessionNumber": "A77", "Manufacturer": "Scanner works"},
    **{"ScanningSequence": "GR", "SequenceVariant": "SP", "EchoTime": "3", "FlipAngle": "12"},
}


def of_study(datasets, **more):
    """Give images the attributes of the study, and others."""
    for dataset in datasets:
        for keyword, value in (STUDY | more).items():
            setattr(dataset, keyword, value)
    return datasets


def scanned(scale=None):
    """Datasets of a head with a bright lesion, in a study."""
    array = np.random.default_rng(0).integers(300, 400, SHAPE).astype(np.uint16)
    array[:, :5] = array[:, -5:] = 0
    array[3:6, 15:22, 12:20] = 900
    return of_study(slices(array), **(scale or {}))


@pytest.fixture
def template(tmp_path):
    return save(tmp_path / "scans" / "t1c", scanned())


def made_of(folder, out, method="physics_pre"):
    volume = read_dicom(folder)
    mask = volume.with_array((volume.array > 0).astype("f4"))
    run(Request(method, {"post": volume, "mask": mask})).write(out)
    return StoredResult.read(out)


@pytest.fixture
def result(template, tmp_path):
    return made_of(template, tmp_path / "result")


def images_in(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def test_an_image_lies_where_the_scan_lies_and_looks_like_it(template, result, tmp_path):
    made = export(result, Template.read(template), tmp_path / "out")
    assert made.warnings == ()
    scan, back = read_dicom(template), read_dicom(tmp_path / "out" / "pre")
    truth = read_volume(tmp_path / "result" / "pre.nrrd")
    np.testing.assert_allclose(back.grid.index_to_lps, scan.grid.index_to_lps, rtol=0, atol=1e-5)
    np.testing.assert_allclose(back.array, truth.array, atol=0.5)
    assert back.synthetic.startswith("SYNTHETIC: made by ContrastSynth")
    sources = {d.SOPInstanceUID: d for d in images_in(template)}
    images = images_in(tmp_path / "out" / "pre")
    assert len({image.SOPInstanceUID for image in images}) == SHAPE[0]
    for image in images:
        (reference,) = image.SourceImageSequence
        source = sources[reference.ReferencedSOPInstanceUID]
        assert image.ImagePositionPatient == source.ImagePositionPatient
        assert image.PixelSpacing == source.PixelSpacing
        assert image.WindowWidth == pytest.approx(900)


@pytest.mark.parametrize("enhanced_image", [False, True])
def test_every_object_says_whose_and_what_it_is(template, result, tmp_path, enhanced_image):
    made = export(result, Template.read(template), tmp_path / "out", enhanced=enhanced_image)
    source = images_in(template)[0]
    series = set()
    for file in made.files:
        found = pydicom.dcmread(tmp_path / "out" / file)
        series.add(found.SeriesInstanceUID)
        assert found.SyntheticData == "YES"
        assert str(found.PatientName) == PATIENT
        assert found.StudyInstanceUID == STUDY["StudyInstanceUID"]
        assert found.SeriesInstanceUID != source.SeriesInstanceUID
        assert found.AccessionNumber == "A77"
        assert "SYNTHETIC" in found.SeriesDescription
        if found.Modality != "SR":
            assert found.FrameOfReferenceUID == STUDY["FrameOfReferenceUID"]
            assert found.ImageType[0] == "DERIVED"
        scanner, ours = found.ContributingEquipmentSequence
        assert scanner.Manufacturer == "Scanner works"
        assert ours.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Synthesizing Equipment"
        assert "physics_pre" in ours.ContributionDescription
        assert "Not a medical device" in ours.ContributionDescription
        assert not [element for element in found.iterall() if element.tag.is_private]
    assert len(series) == 4  # image, map, segmentation, measures
    if not enhanced_image:
        image = pydicom.dcmread(tmp_path / "out" / "pre" / "0001.dcm")
        assert image.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert "DerivationDescription" in image
        assert image.DerivationCodeSequence[0].CodeValue == "SYNTHESIS"


def test_the_weights_are_named(result):
    provenance = {**result.provenance, "weights": [{"id": "sphere-2.1-de3a012c"}]}
    assert "sphere-2.1-de3a012c" in marks.Made.of(provenance).description


def test_maps_and_masks_are_exact(template, result, tmp_path):
    export(result, Template.read(template), tmp_path / "out")
    uptake = read_volume(tmp_path / "result" / "uptake.nrrd")
    back = read_dicom(tmp_path / "out" / "uptake.dcm")
    np.testing.assert_array_equal(back.array, uptake.array)
    np.testing.assert_allclose(back.grid.index_to_lps, uptake.grid.index_to_lps, rtol=0, atol=1e-5)
    segments = pydicom.dcmread(tmp_path / "out" / "uptake_mask.dcm").SegmentSequence
    whole = sum(
        read_dicom_mask(tmp_path / "out" / "uptake_mask.dcm", str(n)).array
        for n in range(1, len(segments) + 1)
    )
    np.testing.assert_array_equal(whole, uptake.array >= TAKEN_UP)


def test_measures_are_the_volumes_of_the_segments(template, result, tmp_path):
    import highdicom

    export(result, Template.read(template), tmp_path / "out")
    report = highdicom.sr.srread(tmp_path / "out" / "uptake_measures.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    mask = read_dicom_mask(tmp_path / "out" / "uptake_mask.dcm", "1")
    (volume,) = groups[0].get_measurements(name=highdicom.sr.CodedConcept("118565006", "SCT", "v"))
    assert volume.value == pytest.approx(mask.array.sum() * mask.grid.voxel_volume_ml, rel=1e-6)
    segmentation = pydicom.dcmread(tmp_path / "out" / "uptake_mask.dcm")
    segment = groups[0].referenced_segment
    assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
    assert segment.referenced_segment_numbers == [1]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is not there")
@pytest.mark.parametrize("more", [{}, {"enhanced": True}, {"burn_in": True}])
def test_a_validator_finds_no_error(template, result, tmp_path, more):
    made = export(result, Template.read(template), tmp_path / "out", **more)
    for file in made.files:
        told = subprocess.run(
            ["dciodvfy", "-new", tmp_path / "out" / file], capture_output=True, text=True
        ).stderr.splitlines()
        errors = [line for line in told if line.startswith("Error") and OF_ITS_TIME not in line]
        assert errors == [], file


def test_an_enhanced_template_gives_the_same(template, result, tmp_path):
    whole = enhanced(np.stack([d.pixel_array for d in scanned()]), order=[3, 1, 0, 2, 7, 6, 5, 4])
    folder = save(tmp_path / "one", of_study([whole]))
    export(result, Template.read(folder), tmp_path / "out")
    truth = read_volume(tmp_path / "result" / "pre.nrrd")
    back = read_dicom(tmp_path / "out" / "pre")
    np.testing.assert_allclose(back.array, truth.array, atol=0.5)
    np.testing.assert_allclose(back.grid.index_to_lps, truth.grid.index_to_lps, rtol=0, atol=1e-5)
    image = pydicom.dcmread(tmp_path / "out" / "pre" / "0001.dcm")
    assert image.SourceImageSequence[0].ReferencedFrameNumber == 3


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 2, 1), (0, 1, 2)])
def test_voxels_in_another_order_come_back_in_the_template_s(template, order):
    volume = read_dicom(template)
    turned = stored(volume, order)
    back = Template.read(template).onto(turned, "pre")
    assert back.grid == volume.grid
    np.testing.assert_array_equal(back.array, volume.array)


@pytest.mark.parametrize("scale", [None, {"RescaleSlope": "0.0005", "RescaleIntercept": "0"}])
def test_values_keep_the_template_s_scale(tmp_path, scale):
    template = save(tmp_path / "t1c", scanned(scale))
    result = made_of(template, tmp_path / "result")
    export(result, Template.read(template), tmp_path / "out")
    truth = read_volume(tmp_path / "result" / "pre.nrrd")
    step = 0.0005 if scale else 1.0
    np.testing.assert_allclose(
        read_dicom(tmp_path / "out" / "pre").array, truth.array, atol=0.51 * step
    )


def test_nothing_of_this_machine_is_told(template, result, tmp_path):
    made = export(result, Template.read(template), tmp_path / "out")
    words = [str(tmp_path), socket.gethostname(), os.getcwd(), getpass.getuser()]
    for file in made.files:
        content = (tmp_path / "out" / file).read_bytes()
        for word in words:
            if len(word) > 4:
                assert word.encode() not in content, (file, word)


def test_what_is_not_marked_is_not_written(template, result, tmp_path):
    dataset = marks.common(Template.read(template), marks.Made.of(result.provenance), "t", 1)
    del dataset.SyntheticData
    with pytest.raises(RequestError, match="not marked as synthetic"):
        marks.save(dataset, tmp_path / "x.dcm")
    assert not (tmp_path / "x.dcm").exists()
    path = tmp_path / "result" / "pre.nrrd"
    volume = read_volume(path)
    write_volume(replace(volume, synthetic=None), path)
    with pytest.raises(RequestError, match="not marked as synthetic"):
        StoredResult.read(tmp_path / "result")


def test_a_result_that_was_changed_is_refused(result, tmp_path):
    path = tmp_path / "result" / "pre.nrrd"
    volume = read_volume(path)
    write_volume(replace(volume, array=volume.array + 1), path)
    with pytest.raises(RequestError, match="not those that the run wrote"):
        StoredResult.read(tmp_path / "result")
    path.unlink()
    with pytest.raises(RequestError, match="it is not there"):
        StoredResult.read(tmp_path / "result")
    with pytest.raises(RequestError, match="no result of a run"):
        StoredResult.read(tmp_path)


def test_another_series_is_refused_and_nothing_is_left(template, result, tmp_path):
    other = save(
        tmp_path / "other", of_study(slices(voxels(shape=SHAPE), step=2.0 * ROTATION[:, 2]))
    )
    with pytest.raises(RequestError, match="not those of the template other"):
        export(result, Template.read(other), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export(result, Template.read(template), tmp_path / "out")
    with pytest.raises(RequestError, match="is not empty"):
        export(result, Template.read(template), tmp_path / "out")
    with pytest.raises(RequestError, match="synthetic itself"):
        Template.read(tmp_path / "out" / "pre")
    with pytest.raises(RequestError, match="no StudyInstanceUID"):
        Template.read(save(tmp_path / "bare", slices()))
    with pytest.raises(RequestError, match="no text burnt in"):
        export(result, Template.read(template), tmp_path / "o", enhanced=True, burn_in=True)


def test_another_scan_on_the_same_grid_gives_a_warning(result, tmp_path):
    others = scanned()
    for dataset in others:
        dataset.PixelData = bytes(np.ones(SHAPE[1:], "<u2"))
    folder = save(tmp_path / "others", others)
    (warning,) = export(result, Template.read(folder), tmp_path / "out").warnings
    assert "the method has read other files" in warning


def test_the_word_is_burnt_in_when_asked_for(template, result, tmp_path):
    export(result, Template.read(template), tmp_path / "plain")
    export(result, Template.read(template), tmp_path / "burnt", burn_in=True)
    plain, burnt = (read_dicom(tmp_path / name / "pre").array for name in ("plain", "burnt"))
    changed = (plain != burnt).any(axis=0)
    rows = np.flatnonzero(changed.any(axis=1))
    assert changed.sum() > 20
    assert rows.min() > SHAPE[1] // 2
    assert images_in(tmp_path / "burnt" / "pre")[0].BurnedInAnnotation == "YES"
    assert images_in(tmp_path / "plain" / "pre")[0].BurnedInAnnotation == "NO"


def test_a_map_of_one_value_is_written_too(template, tmp_path):
    """A scan without any uptake: its map is 0 throughout, and there is no region."""
    volume = read_dicom(template)
    mask = volume.with_array((volume.array > 0).astype("f4"))
    made = run(Request("physics_pre", {"post": volume, "mask": mask}))
    nothing = replace(made.outputs["uptake"], array=np.zeros(SHAPE, "f4"))
    made.outputs["uptake"] = nothing
    made.provenance["outputs"]["uptake"]["sha256"] = nothing.sha256()
    made.write(tmp_path / "none")
    files = export(StoredResult.read(tmp_path / "none"), Template.read(template), tmp_path / "out")
    assert Path("uptake.dcm") in files.files
    assert Path("uptake_mask.dcm") not in files.files
    assert (pydicom.dcmread(tmp_path / "out" / "uptake.dcm").pixel_array == 0).all()


def test_the_command(template, result, tmp_path, capsys):
    words = ["dicom", str(tmp_path / "result"), "--template", str(template)]
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {Path(file).name for file in told["files"]} >= {"uptake.dcm", "uptake_mask.dcm"}
    assert all(Path(file).is_file() for file in told["files"])
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "is not empty" in capsys.readouterr().err
