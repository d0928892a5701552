"""Reader studies without images, whose scores a test gives."""

from dataclasses import replace

from ContrastSynthLib.reader_study.blinding import Key, blinded
from ContrastSynthLib.reader_study.protocol import ARMS, Protocol, StudyCase
from ContrastSynthLib.reader_study.sitting import Sitting
from ContrastSynthLib.reader_study.store import About, Store

CASES = tuple(StudyCase(f"p{n}", "new", "standard") for n in range(15))
READERS = ("one", "two")


def study(tmp_path, name="study", **changes):
    """Return the key and the store of a study of 15 cases without images."""
    protocol = replace(Protocol("Paper", CASES, READERS, seed=1), **changes)
    named = {c.name: {arm: f"{c.name}-{arm}" for arm in ARMS} for c in protocol.cases}
    key = Key(
        protocol, {name: (case, arm) for case, of in named.items() for arm, name in of.items()}
    )
    readings = [r for reader in protocol.readers for r in blinded(protocol, reader, named)]
    about = About(
        protocol.title, protocol.mode, protocol.criteria, protocol.washout_days, protocol.sha256()
    )
    return key, Store.create(tmp_path / f"{name}.sqlite", about, readings)


def score(key, store, value_of, readers=READERS, leave=0):
    """Score all readings but the last ``leave``: ``value_of(reader, case, arm, criterion)``."""
    for reader in readers:
        sitting = Sitting.begin(store, reader)
        for reading in sitting.readings[: len(sitting.readings) - leave]:
            case, arm = key.images[reading.images[0]]
            values = {c.key: value_of(reader, int(case[1:]), arm, c.key) for c in sitting.criteria}
            sitting.score(reading.number, values, 10.0)
