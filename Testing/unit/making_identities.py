"""Scans that are full of what tells of the patient, for the tests of de-identification."""

from __future__ import annotations

import numpy as np
from making_dicom import item, save, slices
from pydicom.uid import generate_uid

SHAPE = (16, 48, 44)
RASTER = np.indices(SHAPE)


def brain(seed=0):
    """A stripped brain with a bright lesion, whole numbers (k, j, i)."""
    noise = np.random.default_rng(seed).integers(300, 400, SHAPE)
    array = np.where(_radius() < 0.8, noise, 0)
    array[7:11, 20:26, 18:24] = 900
    return array.astype(np.uint16)


def head(seed=0):
    """The same brain in dark bone and bright fat."""
    radius = _radius()
    array = brain(seed)
    array[(radius >= 0.8) & (radius < 0.9)] = 40
    array[(radius >= 0.9) & (radius < 1.0)] = 1200
    return array


def _radius():
    middle = [(n - 1) / 2 for n in SHAPE]
    parts = [(RASTER[a] - middle[a]) / (SHAPE[a] / 2) for a in range(3)]
    return np.sqrt(sum(part**2 for part in parts))


LATIN = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müßig-Öztürk^Jürgen Ägidius^^Dr.^Mr",
    "PatientID": "KH-0815-77",
    "IssuerOfPatientID": "Spital Überlingen",
    "OtherPatientIDs": ["X90210", "Y4711"],
    "PatientBirthDate": "19610417",
    "PatientBirthTime": "0312",
    "PatientAddress": "Seestraße 12, Überlingen",
    "ReferringPhysicianName": "Weiß^Änne",
    "OperatorsName": ["Krüger^Zoë", "Li^Na"],
    "InstitutionName": "Radiologie Überlingen",
    "StationName": "MRUEB2",
    "StudyDescription": "Schädel von Müßig-Öztürk, 17.04.1961",
    "ProtocolName": "t1_Müßig-Öztürk_Jürgen",
}
UNICODE = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": "Łukasiewicz^Żaneta=山田^花子",
    "PatientID": "009283",
    "PatientBirthDate": "20010203",
    "ReferringPhysicianName": "Ó Súilleabháin^Séamus",
    "InstitutionName": "Szpital św. Łazarza",
    "StationName": "AWP70021",
    "StudyDescription": "Łukasiewicz Żaneta MRI",
    "ProtocolName": "t1 009283",
}
SHARED = {
    **{"StudyDate": "20240105", "StudyTime": "101537.25", "StudyID": "ST5566"},
    **{"SeriesDate": "20240106", "AcquisitionDate": "20240107", "AcquisitionTime": "111622"},
    **{"AcquisitionDateTime": "20240107111622.5+0100", "InstanceCreationDate": "20240108"},
    **{"AccessionNumber": "ACC778899", "DeviceSerialNumber": "SN665544"},
    **{
        "Manufacturer": "Scanner works",
        "ManufacturerModelName": "Trio",
        "BodyPartExamined": "HEAD",
    },
    **{"ScanningSequence": "GR", "SequenceVariant": "SP", "EchoTime": "3", "FlipAngle": "12"},
    **{"PatientSex": "O", "PatientAge": "062Y", "PatientWeight": "71.25"},
}
"""Dates of four days, one of them three times."""


def identified(identity, voxels, uids=None):
    """Return the slices of a series in which the patient is named wherever there is room."""
    datasets, names = slices(voxels), [str(identity["PatientName"]), identity["PatientID"]]
    uids = uids or {k: generate_uid() for k in ("StudyInstanceUID", "FrameOfReferenceUID")}
    series = generate_uid()
    for dataset in datasets:
        told = {**SHARED, **identity, **uids, "SeriesInstanceUID": series}
        for keyword, value in told.items():
            setattr(dataset, keyword, value)
        dataset.SeriesDescription = f"t1 {names[1]}"
        dataset.ImageComments = f"{names[0]} was scanned on 2024-01-05"
        dataset.PositionReferenceIndicator = names[1]
        dataset.IssuerOfAccessionNumberSequence = [item(LocalNamespaceEntityID="ISSUERNS9")]
        dataset.ReferencedStudySequence = [
            item(
                ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID="1.9.9.7"
            )
        ]
        private = item(PatientName=names[0])
        private.private_block(0x0011, "Nested works", create=True).add_new(1, "LO", names[0])
        inner = item(RequestedProcedureDescription=names[1], ScheduledPerformingPhysicianName="A^B")
        inner.PersonIdentificationCodeSequence = [private]
        dataset.RequestAttributesSequence = [inner]
        block = dataset.private_block(0x0009, "Scanner works", create=True)
        block.add_new(1, "LO", names[0])
        block.add_new(2, "DT", "20240105")
    return datasets


def written(folder, identity, voxels, uids=None):
    """Write such a series into a folder that bears the patient's ID."""
    return save(folder / f"patient_{identity['PatientID']}", identified(identity, voxels, uids))
