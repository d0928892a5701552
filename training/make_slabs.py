"""Make virtual patients to train on, and keep slabs of them on the disk.

    python training/make_slabs.py pool --patients 400
    python training/make_slabs.py doses --for lip_car --patients 110 --first-seed 20000
    python training/make_slabs.py maps --for real_pairs --patients 60 --first-seed 30000

Many trainings then see the same patients, and none waits for them. What is there already is not
made again.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from data import agent_maps, dose_slices, slices
from data.slabs import SLABS_PER_SEED, write_slabs

MAKE = {
    "sphere": (slices.make_slabs, SLABS_PER_SEED, 2),
    "lip_car": (dose_slices.make_slabs, SLABS_PER_SEED, 2),
    "real_pairs": (agent_maps.maps_of_seed, agent_maps.SLABS_PER_PATIENT, 1),
}
"""What makes the slabs, and how many slabs of how many patients a seed gives, by what is to be
trained. Those of SPHERE serve SPHERE-Art and the features as well; ``real_pairs`` makes maps."""


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
    make, slabs, patients = MAKE[arguments.method]
    count = arguments.patients // patients
    seeds = range(arguments.first_seed, arguments.first_seed + count)
    write = partial(write_slabs, arguments.folder, make=make, count=slabs)
    with ProcessPoolExecutor(arguments.processes) as pool:
        for done, _ in enumerate(pool.map(write, seeds), 1):
            print(f"{patients * done} of {patients * count} patients", flush=True)


if __name__ == "__main__":
    main()
