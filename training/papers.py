"""Write docs/papers.md: the claims of the five papers, each beside what this library measures.

    python training/papers.py                       # write the page from docs/papers
    python training/papers.py --check               # only say whether it is up to date
    python training/papers.py --measure lip_car_3 --folder TRAIN=PAIRS

Claims are in ``docs/papers/PAPER.toml``, commands in ``docs/papers/measurements.toml``. What they
measured is kept in ``docs/papers/results``, from which the page is made. To measure anew, remove
the file first: what it holds is not measured again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evaluation.claims_page import PAGE, page
from evaluation.measurements import FOLDERS, measure, measurements

from ContrastSynthLib.errors import ContrastSynthError, RequestError, unknown_name


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for, or write or check the page."""
    chosen = parse(arguments)
    try:
        folders = dict(folder_of(text) for text in chosen.folder)
        known = measurements()
        for name in chosen.measure or ():
            if name not in known:
                raise unknown_name("measurement", name, known)
            measure(known[name], folders)
        if not chosen.measure:
            write_or_check(chosen.check)
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def write_or_check(check: bool) -> None:
    """Write the page; or raise RequestError when it is not what the files would make."""
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        raise RequestError(f"{PAGE.name} is not up to date: python training/papers.py")


def folder_of(text: str) -> tuple[str, Path]:
    """Return the name and the folder of NAME=FOLDER. Raises RequestError for another form."""
    name, _, path = text.partition("=")
    if name not in FOLDERS or not Path(path).is_dir():
        raise RequestError(
            f"--folder {text}: expected NAME=FOLDER, with a folder that exists and a name of "
            f"{', '.join(FOLDERS)}."
        )
    return name, Path(path).resolve()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--check", action="store_true", help="write nothing; exit code 2 for a stale page")
    add("--measure", nargs="+", metavar="NAME", help="run these commands and keep what they find")
    add("--folder", action="append", default=[], metavar="NAME=FOLDER", help="of the commands")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
