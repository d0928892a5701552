"""Results without the patient: what is gone, what is kept, what is refused."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import warnings
from dataclasses import replace
from datetime import date

import pytest

for package in ("highdicom", "dicomanonymizer"):
    pytest.importorskip(package)
import pydicom
from making_dicom import enhanced, image_dataset, save
from making_identities import LATIN, SHARED, UNICODE, brain, head, identified, written

from ContrastSynthLib.cli import main
from ContrastSynthLib.dicom_export.deidentified import OPTIONS, Privacy
from ContrastSynthLib.dicom_export.export import export
from ContrastSynthLib.dicom_export.pseudonyms import Pseudonyms, fresh_secret
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.dicom_export.traces import Traces
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.reader import read_dicom
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.running.stored_result import StoredResult

OF_ITS_TIME = "(0008,001c)"
"""SyntheticData: the validator of the distribution is older than this attribute."""
KEY = bytes(range(32))
WAYS = [{}, {"enhanced": True}]
RANDOM_UID = re.compile(rb"2\.25\.\d+")
"""Its digits now and then hold those of a time or of a patient's number, by chance."""
IDENTITIES = {"latin": LATIN, "unicode": UNICODE}


def result_of(folder, out):
    volume = read_dicom(folder)
    mask = volume.with_array((volume.array > 0).astype("f4"))
    run(Request("physics_pre", {"post": volume, "mask": mask})).write(out)
    return StoredResult.read(out)


@pytest.fixture(params=IDENTITIES)
def identity(request):
    return IDENTITIES[request.param]


@pytest.fixture
def template(tmp_path, identity):
    return written(tmp_path / "scans", identity, brain())


@pytest.fixture
def result(template, tmp_path):
    return result_of(template, tmp_path / "result")


def exported(result, template, out, secret=KEY, **more):
    export(result, Template.read(template), out, privacy=Privacy(secret), **more)
    return {
        path.relative_to(out).as_posix(): pydicom.dcmread(path)
        for path in sorted(out.rglob("*.dcm"))
    }


def told_by(identity, template):
    """Everything in the template that names, dates or places the patient, as bytes."""
    words = set()
    for dataset in (pydicom.dcmread(path) for path in template.iterdir()):
        for element in dataset.iterall():
            several = element.value if element.VM > 1 else [element.value]
            if element.VR in ("PN", "LO", "SH", "LT", "DA", "DT", "TM", "UI", "ST", "AS", "UT"):
                words |= {str(one) for one in several}
            if element.VR == "PN":
                words |= {part for one in several for part in str(one).replace("=", "^").split("^")}
    words |= {str(template), template.name}
    kept = {SHARED["Manufacturer"], SHARED["ManufacturerModelName"]}
    standard = {one for one in words if one.startswith("1.2.840.10008.")}
    short = {one for one in words if len(one) < 6}  # looked for as values
    return words - kept - standard - short, short - kept - {""}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_tells_of_the_patient(identity, template, result, tmp_path, way):
    found = exported(result, template, tmp_path / "out", **way)
    long, short = told_by(identity, template)
    assert len(long) > 30
    for name, dataset in found.items():
        content = (tmp_path / "out" / name).read_bytes() + name.encode()
        no_random = RANDOM_UID.sub(b"", content)
        for word in long:
            seen = no_random if word.isdigit() else content
            assert not any(one in seen for one in encoded(word)), (name, word)
        values = {str(element.value) for element in dataset.iterall() if element.VR != "CS"}
        assert values & short == set(), name


def encoded(word):
    """The bytes of a word in the encodings that can write it."""
    codes = ("utf-8", "latin-1") if all(ord(letter) < 256 for letter in word) else ("utf-8",)
    return {word.encode(code) for code in codes}


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_object_says_what_was_done_and_what_it_is(template, result, tmp_path, way):
    found = exported(result, template, tmp_path / "out", **way)
    names = Pseudonyms(KEY, patient_of(template))
    assert {d.Modality for d in found.values()} == {"MR", "SEG", "SR"}
    assert {"uptake.dcm", "uptake_mask.dcm", "uptake_measures.dcm"} < set(found)
    for dataset in found.values():
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
        codes = [(c.CodeValue, c.CodeMeaning) for c in dataset.DeidentificationMethodCodeSequence]
        assert codes == list(OPTIONS)
        assert dataset.PatientID == str(dataset.PatientName) == names.name
        assert dataset.PatientBirthDate == dataset.AccessionNumber == dataset.StudyID == ""
        assert not any(element.tag.is_private for element in dataset.iterall())
        assert "IssuerOfAccessionNumberSequence" not in dataset
        assert dataset.get("RecognizableVisualFeatures", "NO") == "NO"
        assert ("RecognizableVisualFeatures" in dataset) == (dataset.Modality != "SR")
        assert dataset.SyntheticData == "YES"
        assert "SYNTHETIC" in dataset.SeriesDescription
        scanner, ours = dataset.ContributingEquipmentSequence
        assert scanner.Manufacturer == SHARED["Manufacturer"]
        assert "DeviceSerialNumber" not in scanner or scanner.DeviceSerialNumber == "ANONYMIZED"
        assert "physics_pre" in ours.ContributionDescription


def patient_of(template):
    header = Template.read(template).header
    issuer = str(header.value("IssuerOfPatientID") or "")
    return f"PatientID\0{header.value('PatientID')}\0{issuer}"


def test_values_and_places_stay(template, result, tmp_path):
    exported(result, template, tmp_path / "out")
    export(result, Template.read(template), tmp_path / "plain")
    for name in ("pre", "uptake.dcm"):
        back, plain = (read_dicom(tmp_path / place / name) for place in ("out", "plain"))
        assert (back.array == plain.array).all()
        assert back.grid == plain.grid


def test_objects_of_one_key_stay_together(template, result, tmp_path):
    first = exported(result, template, tmp_path / "1")
    again = exported(result, template, tmp_path / "2", enhanced=True)
    other = exported(result, template, tmp_path / "3", secret=fresh_secret())
    source = Template.read(template).header
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "StudyDate"):
        ones, twos, threes = (
            {dataset[keyword].value for dataset in found.values() if keyword in dataset}
            for found in (first, again, other)
        )
        assert ones == twos
        assert len(ones) == len(threes) == 1
        assert ones != threes
        assert source.value(keyword) not in ones
    kinds = [(sources_of(first["pre/0001.dcm"]), sources_of(again["pre.dcm"]))]
    kinds.append((sources_of(first["uptake.dcm"]), sources_of(again["uptake.dcm"])))
    for ones, twos in kinds:
        assert ones
        assert ones <= twos
    mask, measures = first["uptake_mask.dcm"], first["uptake_measures.dcm"]
    assert mask.SOPInstanceUID in sources_of(measures)
    assert sources_of(first["pre/0001.dcm"]) <= sources_of(measures)


def sources_of(dataset):
    return {e.value for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}


def test_intervals_between_dates_stay(template, result, tmp_path):
    image = exported(result, template, tmp_path / "out")["pre/0001.dcm"]
    days = {
        keyword: date.fromisoformat(image[keyword].value)
        for keyword in ("StudyDate", "AcquisitionDate", "ContentDate")
    }
    names = Pseudonyms(KEY, patient_of(template))
    studied = date.fromisoformat(SHARED["StudyDate"])
    made = date.fromisoformat(result.provenance["created_utc"][:10])
    assert (studied - days["StudyDate"]).days == names.shift_days
    assert (days["AcquisitionDate"] - days["StudyDate"]).days == 2
    assert (days["ContentDate"] - days["StudyDate"]).days == (made - studied).days
    (_, ours) = image.ContributingEquipmentSequence
    assert ours.ContributionDateTime == image.ContentDate


def test_pseudonyms_need_the_secret():
    one, other = (Pseudonyms(secret, "p") for secret in (KEY, bytes(32)))
    assert one.uid("1.2.3") == Pseudonyms(KEY, "q").uid("1.2.3") != one.uid("1.2.4")
    assert one.uid("1.2.3") != other.uid("1.2.3")
    assert one.name != other.name
    assert pydicom.uid.UID(one.uid("1.2.3")).is_valid
    assert len({Pseudonyms(KEY, str(n)).shift_days for n in range(50)}) > 40
    assert one.day("20240229") == one.day("20240229120000.5+0100")
    assert one.day("20240105-20240107") == one.day("20240105")
    assert one.day("2024.01.05") == one.day("20240105")
    assert one.day("unknown") == one.day("2024") == one.day("00010101") == ""


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is not there")
@pytest.mark.parametrize("way", [*WAYS, {"burn_in": True}])
def test_a_validator_finds_no_error(template, result, tmp_path, way):
    found = exported(result, template, tmp_path / "out", **way)
    for name in found:
        told = subprocess.run(
            ["dciodvfy", "-new", tmp_path / "out" / name], capture_output=True, text=True
        ).stderr.splitlines()
        assert told
        errors = [line for line in told if line.startswith("Error") and OF_ITS_TIME not in line]
        assert errors == [], name


def test_a_face_is_refused_unless_asked_for(tmp_path):
    template = written(tmp_path / "scans", LATIN, head())
    result = result_of(template, tmp_path / "result")
    out = tmp_path / "out"
    with pytest.raises(RequestError, match=r"skull-stripped.*--keep-faces"):
        exported(result, template, out)
    assert not out.exists()
    made = export(result, Template.read(template), out, privacy=Privacy(KEY, keep_faces=True))
    for file in made.files:
        dataset = pydicom.dcmread(out / file)
        assert dataset.Modality == "SR" or dataset.RecognizableVisualFeatures == "YES"


def test_an_outline_without_contrast_is_a_face(tmp_path):
    """Where all tissue is as bright as the brain, only the scan tells that it is none."""
    template = written(tmp_path / "scans", LATIN, head())
    result = result_of(template, tmp_path / "result")
    (image,) = result.outputs[0].volumes
    skin, tissue = (image.array[head() == 1200].mean(), image.array[brain() > 0].mean())
    assert skin == pytest.approx(tissue, rel=0.1)
    inside = replace(image, array=image.array * (brain() > 0))
    stripped = replace(result.outputs[0], volumes=(inside,))
    assert exported(replace(result, outputs=(stripped,)), template, tmp_path / "out")


def test_a_map_of_the_whole_head_is_a_face_too(template, result, tmp_path):
    whole = [output for output in result.outputs if output.name == "uptake"]
    skin = replace(whole[0].volumes[0], array=(head() > 0).astype("f4"))
    outputs = (result.outputs[0], replace(whole[0], volumes=(skin,)))
    with pytest.raises(RequestError, match="face"):
        exported(replace(result, outputs=outputs), template, tmp_path / "out")


def test_what_is_still_there_is_found_and_nothing_is_left(
    template, result, tmp_path, monkeypatch, identity
):
    from ContrastSynthLib.dicom_export.deidentified import Deidentifier

    cleaned = Deidentifier.cleaned

    def forgetful(self, dataset):
        copy = cleaned(self, dataset)
        copy.SeriesDescription = f"SYNTHETIC {identity['StationName']}"
        return copy

    monkeypatch.setattr(Deidentifier, "cleaned", forgetful)
    with pytest.raises(RequestError, match="still there, in Series Description"):
        exported(result, template, tmp_path / "out")
    assert not (tmp_path / "out").exists()


LEAKS = {
    "family name": ("ImageComments", lambda d: str(d.PatientName).split("^")[0].upper()),
    "given name inside": ("SeriesDescription", lambda d: f"x{d.PatientName.given_name}y"),
    "operator": (
        "ImageComments",
        lambda d: f"by {d.get('OperatorsName', d.ReferringPhysicianName)}",
    ),
    "ID": ("ImageComments", lambda d: f"of {d.PatientID}"),
    "birth date": ("ImageComments", lambda d: f"born {d.PatientBirthDate}"),
    "a date in words": ("ImageComments", lambda d: "on 05.01.2024"),
    "study date": ("StudyDate", lambda d: d.StudyDate),
    "study time": ("StudyTime", lambda d: d.StudyTime),
    "accession": ("StudyID", lambda d: d.AccessionNumber),
    "institution": ("ImageComments", lambda d: f"at {d.InstitutionName}"),
    "station": ("StudyID", lambda d: d.StationName),
    "study": ("StudyInstanceUID", lambda d: d.StudyInstanceUID),
    "reference": ("FrameOfReferenceUID", lambda d: d.ReferencedStudySequence[0][0x00081155].value),
    "issuer": ("StudyID", lambda d: "ISSUERNS9"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_the_hunt_finds_each_kind_of_trace(template, result, tmp_path, leak):
    read = Template.read(template)
    clean = exported(result, template, tmp_path / "out")["pre/0001.dcm"]
    traces, days = Traces.of(read, ["SYNTHETIC"]), frozenset(all_days(clean))
    path = tmp_path / "leak.dcm"
    keyword, telling = LEAKS[leak]
    clean.ContributingEquipmentSequence[1].ContributionDescription = "made"
    for own in ("SeriesDescription", "ImageComments", "DerivationDescription"):
        setattr(clean, own, "made")
    clean.save_as(path)
    assert traces.in_file(path, days) is None
    clean.SpecificCharacterSet = "ISO_IR 192"
    setattr(clean, keyword, telling(read.header.header))
    clean.save_as(path)
    assert traces.in_file(path, days) == clean[keyword].name


def all_days(dataset):
    return [str(e.value)[:8] for e in dataset.iterall() if e.VR in ("DA", "DT")]


def test_the_hunt_looks_into_bytes_that_are_no_elements(template, tmp_path):
    read = Template.read(template)
    traces = Traces.of(read, [])
    bare = image_dataset(brain()[0])
    bare.PatientName = bare.PatientID = bare.SeriesDescription = ""
    bare.SeriesInstanceUID = "2.25.1"
    path = tmp_path / "bare.dcm"
    bare.save_as(path, enforce_file_format=True)
    assert traces.in_file(path, frozenset()) is None
    content = path.read_bytes()
    hidden = read.header.header.StudyInstanceUID.encode()
    path.write_bytes(hidden.ljust(128, b"\0") + content[128:])
    assert traces.in_file(path, frozenset()) == "its bytes"


@pytest.mark.parametrize("name", ["Brain^Image^^^Mr", "Research^Li", "Map^Use"])
def test_a_patient_may_be_called_as_our_words_are(tmp_path, name):
    template = written(tmp_path / "scans", {**LATIN, "PatientName": name}, brain())
    result = result_of(template, tmp_path / "result")
    assert exported(result, template, tmp_path / "out")


@pytest.mark.parametrize("word", ["ANONYMIZED", "DICOM", "Basic Profile", "unknown", "SYNTHETIC"])
def test_a_patient_may_have_been_anonymous_before(tmp_path, word):
    keywords = ("PatientName", "PatientID", "InstitutionName", "StationName", "DeviceSerialNumber")
    told = {**LATIN, **dict.fromkeys(keywords, word), "PatientBirthDate": "00010101"}
    template = written(tmp_path / "scans", told, brain())
    result = result_of(template, tmp_path / "result")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        (one,) = {d.PatientID for d in exported(result, template, tmp_path / "out").values()}
    assert one.startswith("CS-")
    assert told == []


KANJI = {
    **{"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
    **{"BodyPartExamined": "YAMADA", "Manufacturer": "For Yamada", "ManufacturerModelName": "山田"},
    **{"SoftwareVersions": ["E11", "SCANNED 05.01.2024"], "StudyDate": "20240105"},
}


def test_texts_that_the_profile_leaves_are_emptied_where_they_tell(tmp_path):
    template = written(tmp_path / "scans", {**LATIN, **KANJI}, brain())
    result = result_of(template, tmp_path / "result")
    for name, dataset in exported(result, template, tmp_path / "out").items():
        content = (tmp_path / "out" / name).read_bytes().lower()
        for word in ("yamada", "tarou", "05.01.2024", "山田"):
            for encoding in ("utf-8", "iso2022_jp"):
                assert word.encode(encoding) not in content
        assert dataset.get("BodyPartExamined", "") == ""
        assert dataset.ContributingEquipmentSequence[0].Manufacturer == "unknown"


def test_a_patient_without_an_id_is_known_by_what_there_is(tmp_path):
    bare = {**LATIN, "PatientID": "", "IssuerOfPatientID": ""}
    template = written(tmp_path / "scans", bare, brain())
    result = result_of(template, tmp_path / "result")
    (one,) = {d.PatientID for d in exported(result, template, tmp_path / "1").values()}
    nameless = written(tmp_path / "others", {**bare, "PatientName": ""}, brain())
    (two,) = {d.PatientID for d in exported(result, nameless, tmp_path / "2").values()}
    assert one != two


def test_the_command_makes_a_key_and_keeps_it(template, result, tmp_path, capsys):
    key = tmp_path / "the.key"
    words = ["dicom", str(tmp_path / "result"), "--template", str(template), "--deidentify"]

    def patient(out, *more):
        assert main([*words, "--out", str(tmp_path / out), "--json", *more]) == 0
        (first, *_) = json.loads(capsys.readouterr().out)["files"]
        assert key.read_bytes().strip() not in b"".join(
            path.read_bytes() for path in (tmp_path / out).rglob("*.dcm")
        )
        return pydicom.dcmread(first).PatientID

    one = patient("1", "--key", str(key))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert patient("2", "--key", str(key)) == one
    assert len({one, patient("3"), patient("4")}) == 3


def test_keys_and_options_that_are_refused(template, result, tmp_path, capsys):
    words = ["dicom", str(tmp_path / "result"), "--template", str(template)]
    words += ["--out", str(tmp_path / "out")]

    def refused(*more):
        assert main([*words, *more]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "--key belongs to --deidentify" in refused("--key", "k")
    assert "--keep-faces belongs to --deidentify" in refused("--keep-faces")
    inside = tmp_path / "other" / ".." / "out" / "k"
    assert "outside of --out" in refused("--deidentify", "--key", str(inside))
    key = tmp_path / "key"
    for content in ("", "00", "x" * 64, "ä"):
        key.write_text(content, encoding="utf-8")
        key.chmod(0o600)
        assert "this is no key" in refused("--deidentify", "--key", str(key))
    key.write_text("00" * 32)
    for mode in (0o640, 0o604, 0o666):
        key.chmod(mode)
        assert "chmod 600" in refused("--deidentify", "--key", str(key))
    assert "no key" in refused("--deidentify", "--key", str(tmp_path))
    nowhere = tmp_path / "nowhere" / "key"
    assert "could not be written" in refused("--deidentify", "--key", str(nowhere))


def test_an_enhanced_template_tells_nothing_either(template, result, tmp_path, identity):
    one = enhanced(brain())
    named = identified(identity, brain())[0]
    for element in named:
        if element.tag not in one or element.keyword in ("PatientName", "PatientID"):
            one[element.tag] = element
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del one[keyword]
    folder = save(tmp_path / "enhanced", [one])
    for way in WAYS:
        out = tmp_path / f"out{len(way)}"
        found = exported(result, folder, out, **way)
        assert {d.Modality for d in found.values()} == {"MR", "SEG", "SR"}
        for name in found:
            content = (out / name).read_bytes()
            for word in (identity["PatientID"], one.StudyInstanceUID, one.SOPInstanceUID):
                assert word.encode() not in content


def test_the_template_is_not_written_into(template, result, tmp_path, identity):
    read = Template.read(template)
    export(result, read, tmp_path / "out", privacy=Privacy(KEY))
    header = read.header.header
    assert str(header.PatientName) == str(identified(identity, brain())[0].PatientName)
    assert header.StudyDate == SHARED["StudyDate"]
