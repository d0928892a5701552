"""Make virtual patients to train on, and keep slabs of them on the disk.

    python training/make_slabs.py pool --patients 400
    python training/make_slabs.py doses --for lip_car --patients 110 --first-seed 20000

Many trainings then see the same patients, and none waits for them. What is there already is not
made again.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from data import dose_slices, slices
from data.slabs import write_slabs

MAKE = {"sphere": slices.make_slabs, "lip_car": dose_slices.make_slabs}
"""By what is to be trained; those of SPHERE serve SPHERE-Art and the features as well."""
PATIENTS_PER_SEED = 2


def main() -> None:
    """Write the slabs of as many patients as the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--for", choices=tuple(MAKE), default="sphere", dest="method")
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0, help="of the first two patients")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    count = arguments.patients // PATIENTS_PER_SEED
    seeds = range(arguments.first_seed, arguments.first_seed + count)
    write = partial(write_slabs, arguments.folder, make=MAKE[arguments.method])
    with ProcessPoolExecutor(arguments.processes) as pool:
        for done, _ in enumerate(pool.map(write, seeds), 1):
            print(f"{PATIENTS_PER_SEED * done} of {PATIENTS_PER_SEED * count} patients", flush=True)


if __name__ == "__main__":
    main()
