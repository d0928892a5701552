"""An archive that speaks DIMSE, the protocol of the hospitals: C-FIND, C-GET, C-STORE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.archive.archive import SERIES_KEYS, STUDY_KEYS, Found
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.datasets import dataset_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

OUR_TITLE = "CONTRASTSYNTH"
TIMEOUT_S = 30.0
FIND, GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
"""Study Root Query/Retrieve."""
SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
NODE = re.compile(r"(?P<title>[^@\s]{1,16})@(?P<host>[^@:\s]+):(?P<port>\d{1,5})")
KINDS = (
    *("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.66.4"),
    *("1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.88.34"),
    *("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.33"),
)
"""MR, Enhanced MR, Segmentation, Parametric Map, Comprehensive 3D SR; what a study may hold beside
them: Secondary Capture, Comprehensive SR."""


@dataclass(frozen=True)
class Node:
    """An archive's title, host and port, and the title that we call ourselves."""

    title: str
    host: str
    port: int
    our_title: str = OUR_TITLE

    @classmethod
    def parse(cls, text: str, our_title: str = OUR_TITLE) -> Node:
        """Return the node of ``TITLE@HOST:PORT``. Raises RequestError for another text."""
        found = NODE.fullmatch(text)
        if not found or not 0 < int(found["port"]) < 2**16:
            raise RequestError(f"'{text}' is no DICOM node. Expected TITLE@HOST:PORT.")
        return cls(found["title"], found["host"], int(found["port"]), our_title)

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"

    # Archive

    def studies(self, wanted: dict[str, str]) -> list[Found]:
        """Return the studies whose attributes are as wanted."""
        return self._find("STUDY", STUDY_KEYS, wanted)

    def series(self, study_uid: str) -> list[Found]:
        """Return the series of a study."""
        return self._find("SERIES", SERIES_KEYS, {"StudyInstanceUID": study_uid})

    @contextmanager
    def objects(self, study_uid: str) -> Iterator[Iterable[Dataset]]:
        """Give the objects of a study, fetched by C-GET."""
        from pynetdicom import evt

        arrived: list[Dataset] = []
        ask = dataset_of(QueryRetrieveLevel="STUDY", StudyInstanceUID=study_uid)
        handlers = [(evt.EVT_C_STORE, _keeping(arrived))]
        with self._talking([GET, *KINDS], roles=KINDS, handlers=handlers) as association:
            for status, _ in association.send_c_get(ask, GET):
                self._refuse(status, "C-GET")
            yield arrived

    def store(self, datasets: Iterable[Dataset]) -> int:
        """Keep objects in the archive by C-STORE."""
        count = 0
        with self._talking(KINDS) as association:
            for dataset in datasets:
                try:
                    status = association.send_c_store(dataset)
                except ValueError as error:
                    raise RequestError(f"{self}: does not take this kind ({error}).") from error
                self._refuse(status, "C-STORE", f"{count} objects were stored before")
                count += 1
        return count

    # How

    def _find(self, level: str, keywords: Iterable[str], wanted: dict[str, str]) -> list[Found]:
        keys = [*keywords]
        ask = dataset_of(QueryRetrieveLevel=level, **(dict.fromkeys(keys, "") | wanted))
        found = []
        with self._talking([FIND]) as association:
            for status, answer in association.send_c_find(ask, FIND):
                self._refuse(status, "C-FIND")
                if answer is not None:
                    found.append(Found.of(answer, keys))
        return found

    @contextmanager
    def _talking(
        self, contexts: Iterable[Any], roles: Iterable[str] = (), handlers: Any = ()
    ) -> Iterator[Any]:
        """Give an association with the archive, released at the end."""
        from pynetdicom import AE, build_role

        ours = AE(ae_title=self.our_title)
        ours.acse_timeout = ours.dimse_timeout = ours.network_timeout = TIMEOUT_S
        ours.connection_timeout = TIMEOUT_S
        for context in contexts:
            ours.add_requested_context(context)
        negotiated: list[Any] = [build_role(kind, scp_role=True) for kind in roles]
        association = ours.associate(
            self.host,
            self.port,
            ae_title=self.title,
            ext_neg=negotiated,
            evt_handlers=list(handlers),
        )
        if not association.is_established:
            raise RequestError(
                f"{self}: no association. Is the archive on, its title and port right, and does it "
                f"know {self.our_title}?"
            )
        try:
            yield association
        finally:
            association.release()

    def _refuse(self, status: Any, what: str, more: str = "") -> None:
        code = status.get("Status") if status else None
        if code not in (SUCCESS, *PENDING):
            shown = "no answer" if code is None else f"status 0x{code:04X}"
            reason = str(status.get("ErrorComment", "")) if status else ""
            told = "; ".join(part for part in (shown, reason, more) if part)
            raise RequestError(f"{self}: {what} failed ({told}).")


def _keeping(arrived: list[Dataset]) -> Any:
    """Return a handler that keeps what is sent."""

    def keep(event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        arrived.append(dataset)
        return SUCCESS

    return keep
