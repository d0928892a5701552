"""Other names, numbers and dates for a patient, which only the holder of a secret could repeat."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from ContrastSynthLib.errors import RequestError

SECRET_BYTES = 32
LEAST_SHIFT_DAYS, MOST_SHIFT_DAYS = 366, 3652
"""Dates go back by one to ten years."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO
PREFIX = "CS-"
DIGITS = 16
"""Of a pseudonym, hexadecimal: that two of a million patients share one is not to be expected."""


@dataclass(frozen=True)
class Pseudonyms:
    """What stands for the names of one ``patient``, a text that tells this patient from others."""

    secret: bytes
    patient: str

    @property
    def name(self) -> str:
        """The patient's new name, which is the new ID as well."""
        return PREFIX + self._digest("patient", self.patient).hex()[:DIGITS].upper()

    @property
    def shift_days(self) -> int:
        """By how many days all dates of the patient go back."""
        number = int.from_bytes(self._digest("shift", self.patient))
        return LEAST_SHIFT_DAYS + number % (MOST_SHIFT_DAYS - LEAST_SHIFT_DAYS + 1)

    def uid(self, original: str) -> str:
        """Return the new UID for one, made of a random-looking UUID (PS3.5, B.2)."""
        number = int.from_bytes(self._digest("uid", original)[:16])
        number = number & ~(0xF << 76) | 4 << 76  # the version
        number = number & ~(0x3 << 62) | 2 << 62  # the variant
        return f"2.25.{number}"

    def day(self, original: str) -> str:
        """Return the shifted day of a date or a date with time; empty for what is no date."""
        try:
            day = date.fromisoformat(digits_of_day(original))
            return f"{day - timedelta(days=self.shift_days):%Y%m%d}".zfill(8)
        except (ValueError, OverflowError):
            return ""

    def _digest(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self.secret, f"{purpose}\0{text}".encode(), hashlib.sha256)


def digits_of_day(text: str) -> str:
    """Return the eight digits of a day, as they are now or with the full stops of old files."""
    return re.sub(r"[-.]", "", text[: len("2024.01.31")])[:8]


def fresh_secret() -> bytes:
    """Return a secret that nobody has had before."""
    return secrets.token_bytes(SECRET_BYTES)


def kept_secret(path: Path, out: Path) -> bytes:
    """Return the secret in a file, which is made if it is not there.

    Raises RequestError for a file that others can read, that would be given away with the results
    in the folder ``out``, or that holds something else.
    """
    if path.resolve().is_relative_to(out.resolve()):
        raise RequestError(
            f"{path}: the key would lie among the results, and who has it can undo the "
            "pseudonyms. Keep it outside of --out."
        )
    try:
        _make(path)
    except FileExistsError:
        pass
    except OSError as error:
        raise RequestError(f"{path}: the key could not be written ({error.strerror}).") from error
    return _read(path)


def _make(path: Path) -> None:
    # Made with its permissions: there is no moment when others could read it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(fresh_secret().hex() + "\n")


def _read(path: Path) -> bytes:
    wrong = RequestError(
        f"{path}: this is no key. Expected a file that --key has made; for a new one name a file "
        "that is not there."
    )
    try:
        if not path.is_file():
            raise wrong
        if os.name == "posix" and path.stat().st_mode & OTHERS:
            raise RequestError(
                f"{path}: others can read this key, and who has it can undo the pseudonyms. Make "
                f"it yours alone: chmod 600 '{path}'."
            )
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError as error:
        raise wrong from error
    except OSError as error:
        raise RequestError(f"{path}: the key could not be read ({error.strerror}).") from error
    if len(secret) != SECRET_BYTES:
        raise wrong
    return secret
