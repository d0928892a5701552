"""The commands ``study create``, ``next``, ``score``, ``status``, ``report`` and ``power``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from ContrastSynthLib.commands.printing import print_json, print_nested, print_warnings
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.running.jobs import JsonLines

SCHEMA_VERSION = 1


def create(options: Namespace, lines: JsonLines | None) -> None:
    """Make a study from a table of cases: what readers get, and the key."""
    from ContrastSynthLib.reader_study import blinding
    from ContrastSynthLib.reader_study.protocol import (
        CRITERIA,
        STANDARD,
        Analysis,
        Criterion,
        Protocol,
        read_cases,
    )

    criteria = tuple(
        Criterion(key, title, tuple(anchors.split("|")))
        for key, title, anchors in options.criterion
    )
    protocol = Protocol(
        options.title,
        read_cases(options.cases),
        tuple(options.reader),
        options.seed,
        options.mode,
        criteria or CRITERIA,
        options.repeats,
        options.washout_days,
        Analysis(options.margin, options.alpha, tuple(options.test) or Analysis().tests),
    )
    key = blinding.create(protocol, options.out, options.database)
    if marked := key.marks_of(STANDARD):
        print_warnings(
            [
                f"Images of the standard arm are marked SYNTHETIC: {', '.join(marked)}. Are the "
                "columns new and standard the right way round?"
            ]
        )
    told = {
        "schema_version": SCHEMA_VERSION,
        "protocol_sha256": protocol.sha256(),
        "readers": str(options.out / blinding.READERS),
        "key": str(options.out / blinding.KEY),
    }
    if options.json:
        print_json(told)
        return
    print(f"Readers get the folder {told['readers']}; keep {told['key']} from them.")
    print(f"Protocol {protocol.sha256()}")


def show_next(options: Namespace, lines: JsonLines | None) -> None:
    """Print what a reader reads next, or that all is read."""
    from ContrastSynthLib.reader_study.blinding import image_file
    from ContrastSynthLib.reader_study.sitting import Sitting

    folder, store = _opened(options)
    sitting = Sitting.begin(store, options.reader)
    reading = sitting.next()
    told: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "left": _left(sitting)}
    if reading is not None:
        told |= {
            "number": reading.number,
            "session": reading.session,
            "images": [str(image_file(folder, name)) for name in reading.images],
            "beside": [str(image_file(folder, name)) for name in reading.beside],
            "criteria": {
                one.key: {score: text for score, text in zip(one.scale, one.anchors, strict=True)}
                for one in sitting.criteria
            },
        }
    if options.json:
        print_json(told)
    elif reading is None:
        print("All is read. Thank you.")
    else:
        print_nested(told)


def score(options: Namespace, lines: JsonLines | None) -> None:
    """Keep the scores of a reading; an earlier one of it stays in the store."""
    from ContrastSynthLib.reader_study.sitting import COMMENT, Sitting

    _, store = _opened(options)
    sitting = Sitting.begin(store, options.reader)
    sitting.score(
        options.number, {key: _whole(value) for key, value in options.set}, options.seconds
    )
    if options.comment:
        sitting.remark(options.number, COMMENT, options.comment)
    print(f"Kept. {_left(sitting)} of {len(sitting.readings)} readings are left.")


def status(options: Namespace, lines: JsonLines | None) -> None:
    """Print how far each reader is; nothing of the scores."""
    from ContrastSynthLib.reader_study.sitting import Sitting

    _, store = _opened(options)
    told = {}
    for reader in store.readers:
        readings = store.readings(reader)
        sitting = Sitting(store, reader, "", readings)
        told[reader] = {"scored": len(sitting.done()), "of": len(readings)}
    found = {
        "schema_version": SCHEMA_VERSION,
        "title": store.about.title,
        "protocol_sha256": store.about.protocol_sha256,
        "readers": told,
    }
    if options.json:
        print_json(found)
    else:
        print_nested(found)


def report(options: Namespace, lines: JsonLines | None) -> None:
    """Write the report of a study: the page, the scores and a summary."""
    from ContrastSynthLib.reader_study.analysis import analyse
    from ContrastSynthLib.reader_study.blinding import KEY, read_key
    from ContrastSynthLib.reader_study.report import write_report

    key = read_key(options.key or options.study / KEY)
    _, store = _opened(options)
    result = analyse(key, store)
    print_warnings(result.warnings)
    for path in write_report(result, options.out):
        print(path)


def power(options: Namespace, lines: JsonLines | None) -> None:
    """Print how often a study of some size rejects, or how many cases it needs."""
    from ContrastSynthLib.reader_study import power as simulated

    differences = simulated.Differences.of_mean(options.difference, options.better)
    at_margin = simulated.Differences.of_mean(-options.margin, options.better)
    shared = {"readers": options.readers, "margin": options.margin, "alpha": options.alpha}
    told: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "test": options.test, **shared}
    cases = options.cases or simulated.cases_needed(
        options.test, differences, power=options.power, seed=options.seed, **shared
    )
    rate = {
        name: simulated.rejection_rate(
            options.test, drawn, cases=cases, seed=options.seed, **shared
        )
        for name, drawn in (("power", differences), ("error_at_the_margin", at_margin))
    }
    normal = simulated.power_by_normal_distribution(differences, cases=cases, **shared)
    told |= {"cases": cases, **rate, "power_by_normal_distribution": normal}
    if rate["error_at_the_margin"] > simulated.TOLERATED:
        print_warnings(
            [
                f"At the margin the test rejects in {rate['error_at_the_margin']:.0%} of the "
                f"studies, more than {options.alpha:.0%}: scores of few steps near their end. More "
                "cases, or another test, help."
            ]
        )
    if options.json:
        print_json(told)
    else:
        print_nested(told)


def _opened(options: Namespace) -> tuple[Path, Any]:
    from ContrastSynthLib.reader_study.blinding import open_store

    return open_store(options.study, options.database)


def _left(sitting: Any) -> int:
    return len(sitting.readings) - len(sitting.done())


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"'{text}' is not a score: expected a whole number.") from None
