"""A table of patients in the Slicer application, without a window; a scene for each patient.

Slicer --no-splash --no-main-window --python-script run_in_slicer.py -- METHOD --cases CASES.csv
       --out DIR [--scene mrb|mrml] [what "contrastsynth batch --help" lists]

Slicer ends with the exit code of the command line. Cases run one after the other; several at a
time: run_in_pythonslicer.py.
"""

import sys
from pathlib import Path

import slicer
import slicer.util

# Beside this folder lies the panel and, in a package, the library; in a checkout one further up.
sys.path[:0] = [str(Path(__file__).resolve().parents[level]) for level in (1, 2)]


def main() -> int:
    """Run what the command line asks for."""
    from ContrastSynthBatch import scenes

    return scenes.run(sys.argv[1:], slicer.mrmlScene, most_workers=1)


if __name__ == "__main__":
    status = 1
    try:
        status = main()
    finally:
        slicer.util.exit(status)
