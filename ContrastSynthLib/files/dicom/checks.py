"""What all images of one series have in common: one patient, one scan, grey values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.header import Frame

LONGEST_DESCRIPTION = 64
MOST_NAMED = 3
# How settings of one scan may differ from slice to slice, as a share. A triggered scan
# repeats with the patient's breath or pulse.
SETTINGS = {
    "EchoTime": 0.01,
    "EffectiveEchoTime": 0.01,
    "InversionTime": 0.01,
    "FlipAngle": 0.01,
    "RepetitionTime": 0.25,
    "MagneticFieldStrength": 0.05,
    "DiffusionBValue": 0.01,
}


def refuse_several_series(path: Path, frames: list[Frame]) -> None:
    """Raise RequestError with a table of the series unless there is one."""
    series = {str(frame.value("SeriesInstanceUID")): frame for frame in frames}
    if len(series) == 1:
        return
    counts = Counter(str(frame.value("SeriesInstanceUID")) for frame in frames)
    rows = []
    for uid, frame in series.items():
        number = frame.number("SeriesNumber")
        label = f"series {'?' if number is None else f'{number:g}'}"
        rows.append(f"  {label}, {frame.value('Modality') or 'no modality'}")
        rows[-1] += f", '{_description(frame)}', {counts[uid]} images"
    raise RequestError(
        f"{path}: holds {len(series)} series, expected one. Put the one that is wanted into a "
        "folder of its own:\n" + "\n".join(sorted(rows))
    )


def _description(frame: Frame) -> str:
    """Return which series it is, as the scanner calls it, without what names the patient."""
    text = "".join(
        c if c.isprintable() else " " for c in str(frame.value("SeriesDescription") or "")
    )
    private = f"{frame.value('PatientName') or ''}^{frame.value('PatientID') or ''}".casefold()
    names = {part for part in private.replace("^", " ").replace("=", " ").split() if len(part) > 2}
    words = ["..." if word.casefold() in names else word for word in text.split()]
    return " ".join(words)[:LONGEST_DESCRIPTION]


def refuse_mixtures(path: Path, frames: list[Frame]) -> None:
    """Refuse images of several patients, places or kinds under one series; nobody is named."""
    for what, identity in (
        ("patients (PatientID)", _text("PatientID")),
        ("patients (PatientName)", _person),
        ("patients (PatientBirthDate)", _text("PatientBirthDate")),
        ("positions of a patient (FrameOfReferenceUID)", _text("FrameOfReferenceUID")),
        ("kinds of scan (Modality)", _text("Modality")),
        ("kinds of object (SOPClassUID)", _text("SOPClassUID")),
        ("kinds of grey (PhotometricInterpretation)", _text("PhotometricInterpretation")),
    ):
        _refuse_several(path, frames, what, identity)


def _text(keyword: str) -> Callable[[Frame], str]:
    return lambda frame: str(frame.value(keyword) or "").strip(" \0").casefold()


def _person(frame: Frame) -> str:
    """Return a name without what writers leave out or add: case, and empty parts at the end."""
    name = str(frame.value("PatientName") or "").split("=")[0].casefold()
    return " ".join(name.replace("^", " ").split())


def _refuse_several(
    path: Path, frames: list[Frame], what: str, identity: Callable[[Frame], Hashable]
) -> None:
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        if key := identity(frame):
            groups.setdefault(key, []).append(frame)
    if len(groups) < 2:
        return
    shown = "; ".join(named(group) for group in list(groups.values())[:MOST_NAMED])
    raise RequestError(
        f"{path}: images of {len(groups)} {what} under one series: {shown}. Expected one scan of "
        "one patient; put the images of each into a folder of their own."
    )


def named(frames: list[Frame]) -> str:
    """Return the names of the first few files, of a multi-frame file with the frame's number."""
    names = list(dict.fromkeys(_name(frame) for frame in frames))
    shown = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return shown + (f" and {more} more" if more > 0 else "")


def _name(frame: Frame) -> str:
    number = f" frame {frame.index + 1}" if len(frame.places) > 1 else ""
    return f"'{frame.path.name}'{number}"


def refuse_other_kinds(path: Path, frames: list[Frame]) -> None:
    """Refuse what is not one stack of images with one grey value in each pixel."""
    for frame in frames:
        interpretation = str(frame.value("PhotometricInterpretation") or "MONOCHROME2")
        if frame.number("SamplesPerPixel") not in (None, 1.0) or "MONOCHROME" not in interpretation:
            raise RequestError(
                f"{path}: '{frame.path.name}' is a colour image ({interpretation}). Expected "
                "grey values as the scanner made them."
            )
        if "MOSAIC" in _image_type(frame):
            raise RequestError(
                f"{path}: '{frame.path.name}' is a mosaic, all slices as tiles of one picture. "
                "Convert it to NIfTI first."
            )
        if frame.value("ModalityLUTSequence"):
            raise RequestError(
                f"{path}: '{frame.path.name}' maps its values by a table (modality LUT). "
                "Expected stored values with a rescale slope and intercept."
            )


def _image_type(frame: Frame) -> tuple[str, ...]:
    value = frame.value("ImageType") or ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def refuse_unlike_slices(path: Path, frames: list[Frame]) -> None:
    """Refuse a stack of which some slices were acquired with other settings than the others."""
    for keyword, share in SETTINGS.items():
        numbers = {n: number for n, f in enumerate(frames) if (number := f.number(keyword))}
        if not numbers:
            continue
        usual = sorted(numbers.values())[len(numbers) // 2]
        other = [n for n, number in numbers.items() if abs(number - usual) > share * abs(usual)]
        if other:
            raise RequestError(
                f"{path}: {named([frames[n] for n in other])} with {keyword} "
                f"{numbers[other[0]]:g}, where {usual:g} is usual. Expected slices of one scan; "
                "take out what belongs to another."
            )
    kinds = Counter(kind for frame in frames if (kind := "".join(_image_type(frame)[2:3])))
    if len(kinds) > 1:
        rare = min(kinds, key=lambda kind: kinds[kind])
        strange = [frame for frame in frames if "".join(_image_type(frame)[2:3]) == rare]
        raise RequestError(
            f"{path}: {named(strange)} of the kind '{rare}' (ImageType), unlike the other "
            "slices. Expected slices of one scan; take out what belongs to another."
        )


def notes_on_kind(frames: list[Frame]) -> list[str]:
    """Return what to know of the images that are read all the same."""
    notes = []
    if str(frames[0].value("PhotometricInterpretation")).strip() == "MONOCHROME1":
        notes.append(
            "PhotometricInterpretation is MONOCHROME1: viewers show low numbers bright. The "
            "numbers were taken as they are stored; check that bright tissue has high ones."
        )
    spoken = [f for f in frames if (f.number("RepetitionTime") or 1.0) < 0.2]
    if spoken:
        notes.append(
            f"RepetitionTime {spoken[0].number('RepetitionTime'):g} can be no milliseconds; TR "
            "counts as unknown."
        )
    return notes
