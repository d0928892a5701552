"""What arrives by C-STORE: kept before it is acknowledged, from those alone who may send."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ContrastSynthLib.archive.archive import name_of_uid
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.service.rules import Rules

SUCCESS, NO_ROOM, NOT_ALLOWED = 0x0000, 0xA700, 0x0124
PART = ".part"


@contextmanager
def receiving(rules: Rules, incoming: Path) -> Iterator[None]:
    """Receive studies into ``incoming``/STUDY/SERIES/OBJECT.dcm until the end of the block.

    Callers whose title and address are not those of a peer that may send are turned away. Raises
    RequestError where the port cannot be used.
    """
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    ours = AE(ae_title=rules.title)
    ours.supported_contexts = AllStoragePresentationContexts
    ours.add_supported_context("1.2.840.10008.1.1")  # Verification, by which others try us

    def turn_away(event: Any) -> None:
        if not _may_send(rules, event):
            event.assoc.acse.send_reject(0x01, 0x01, 0x03)  # permanently: calling title unknown
            event.assoc.kill()

    def keep(event: Any) -> int:
        if not _may_send(rules, event):
            return NOT_ALLOWED
        try:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            write_object(dataset, incoming)
        except OSError:
            return NO_ROOM
        return SUCCESS

    handlers: list[Any] = [(evt.EVT_REQUESTED, turn_away), (evt.EVT_C_STORE, keep)]
    server: Any = None
    try:
        server = ours.start_server((rules.host, rules.port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise RequestError(
            f"The port {rules.port} of {rules.host} cannot be used ({error.strerror})."
        ) from error
    try:
        yield
    finally:
        for association in server.active_associations:
            association.abort()  # it would be waited for
        server.shutdown()


def _may_send(rules: Rules, event: Any) -> bool:
    requestor = event.assoc.requestor
    title = str(requestor.primitive.calling_ae_title).strip()
    return rules.may_send(title, str(requestor.address))


def write_object(dataset: Any, folder: Path) -> Path:
    """Write an object below a folder; it is on the disk, whole, when this returns."""
    study, series, name = (
        name_of_uid(dataset.get(keyword) or "unknown")
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    )
    path = folder / study / series / f"{name}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}{PART}")
    with part.open("wb") as stream:
        dataset.save_as(stream, enforce_file_format=True)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)
    return path
