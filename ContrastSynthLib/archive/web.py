"""An archive that speaks DICOMweb: QIDO, WADO, STOW."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.archive.archive import SERIES_KEYS, STUDY_KEYS, Found
from ContrastSynthLib.errors import RequestError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

AT_ONCE = 50
"""Objects in one request to store."""


@dataclass(frozen=True)
class Web:
    """The address of an archive's DICOMweb, such as ``http://127.0.0.1:8042/dicom-web``."""

    url: str

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise RequestError(f"'{self.url}' is no address. Expected http:// or https://.")

    def __str__(self) -> str:
        return self.url

    def studies(self, wanted: dict[str, str]) -> list[Found]:
        """Return the studies whose attributes are as wanted."""
        with self._client() as client:
            answers = client.search_for_studies(search_filters=wanted, fields=[*STUDY_KEYS])
            return [_found(answer, STUDY_KEYS) for answer in answers]

    def series(self, study_uid: str) -> list[Found]:
        """Return the series of a study."""
        with self._client() as client:
            answers = client.search_for_series(study_uid, fields=[*SERIES_KEYS])
            return [_found(answer, SERIES_KEYS) for answer in answers]

    @contextmanager
    def objects(self, study_uid: str) -> Iterator[Iterable[Dataset]]:
        """Give the objects of a study."""
        with self._client() as client:
            yield client.iter_study(study_uid)

    def store(self, datasets: Iterable[Dataset]) -> int:
        """Keep objects in the archive, some at once."""
        count, several = 0, []
        with self._client() as client:
            for dataset in datasets:
                several.append(dataset)
                if len(several) == AT_ONCE:
                    count += self._store(client, several)
                    several = []
            return count + (self._store(client, several) if several else 0)

    def _store(self, client: Any, datasets: list[Dataset]) -> int:
        answer = client.store_instances(datasets)
        failed = answer.get("FailedSOPSequence", [])
        if failed:
            raise RequestError(f"{self}: refused {len(failed)} of {len(datasets)} objects.")
        return len(datasets)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Give a client, whose errors are told with the address."""
        import requests
        from dicomweb_client.api import DICOMwebClient

        try:
            client = DICOMwebClient(url=self.url)
            client.set_http_retry_params(retry=False)  # it would try for a minute
            yield client
        except requests.RequestException as error:
            reason = str(error).splitlines()[0][:200]
            raise RequestError(f"{self}: the archive does not answer ({reason}).") from error


def _found(answer: dict[str, Any], keywords: Iterable[str]) -> Found:
    from pydicom.dataset import Dataset

    return Found.of(Dataset.from_json(answer), [*keywords])
