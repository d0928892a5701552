"""Make slabs to train on, of virtual patients or of pairs of real scans, and keep them on the disk.

    python training/make_slabs.py pool --patients 400
    python training/make_slabs.py doses --for lip_car --patients 110 --first-seed 20000
    python training/make_slabs.py doses_real --for lip_car --pairs PAIRS --held-out 9
    python training/make_slabs.py maps --for real_pairs --patients 60 --first-seed 30000
    python training/make_slabs.py scans --for hrfcn --patients 100 --first-seed 50000
    python training/make_slabs.py scans_real --for hrfcn --pairs PAIRS
    python training/make_slabs.py breasts --for iter_unet --patients 120 --first-seed 70000
    python training/make_slabs.py breast_slices --for sphere_breast --patients 3 --first-seed 80000

Many trainings then see the same patients, and none waits for them. What is there already is not
made again.

``--pairs`` makes slabs of a folder of pairs instead of virtual patients. Some patients are held
out, by the rule of ``train_sphere_real.py``; their slabs go into the folder ``held_out``. Those
for LIP-CAR have a low dose that is simulated, see ``data/dose_pairs.py``; those for the
high-resolution FCN have the other scans of the case too, where there are any: t2, flair, adc.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from data import (
    agent_maps,
    breast_series,
    breast_slices,
    dose_pairs,
    dose_slices,
    enhance_slabs,
    slices,
)
from data.pair_options import add_same_patient
from data.real_pairs import held_out_of, prepare_pairs, read_table
from data.slabs import SLABS_PER_SEED, write_slabs

from ContrastSynthLib.errors import ContrastSynthError, RequestError

MAKE = {
    "sphere": (slices.make_slabs, SLABS_PER_SEED, 2),
    "sphere_breast": (breast_slices.make_slabs, breast_slices.SLABS, 1),
    "lip_car": (dose_slices.make_slabs, SLABS_PER_SEED, 2),
    "hrfcn": (enhance_slabs.make_slabs, SLABS_PER_SEED, 2),
    "iter_unet": (breast_series.make_series, 1, 1),
    "real_pairs": (agent_maps.maps_of_seed, agent_maps.SLABS_PER_PATIENT, 1),
}
"""What makes the slabs, and how many slabs of how many patients a seed gives, by what is to be
trained. Those of SPHERE serve SPHERE-Art and the features as well; ``real_pairs`` makes maps,
``iter_unet`` whole series of breasts."""


def main() -> None:
    """Write the slabs of as many patients, or of the pairs, that the command line asks for."""
    arguments = read_arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.pairs and arguments.method == "hrfcn":
        of_scans(arguments)
    elif arguments.pairs:
        of_pairs(arguments)
    else:
        of_virtual_patients(arguments)


def of_virtual_patients(arguments: argparse.Namespace) -> None:
    """Write slabs of virtual patients. Raises RequestError for a folder of slabs of pairs."""
    if (arguments.folder / dose_pairs.RECORD).exists():
        raise RequestError(f"{arguments.folder.name} holds slabs of pairs. Give another folder.")
    make, slabs, patients = MAKE[arguments.method]
    count = arguments.patients // patients
    seeds = range(arguments.first_seed, arguments.first_seed + count)
    write = partial(write_slabs, arguments.folder, make=make, count=slabs)
    run(write, seeds, arguments.processes, f"of {patients * count} patients", patients)


def of_pairs(arguments: argparse.Namespace) -> None:
    """Write slabs of pairs of real scans with a simulated low dose."""
    folder = arguments.folder
    table = read_table(arguments.pairs, arguments.same_patient)
    others = held_out_of(table, arguments.held_out)
    pairs = prepare_pairs(table, arguments.matched or folder / "matched")
    record = dose_pairs.PairSlabs.of(pairs, others, arguments.first_seed)
    record.enter(folder)
    print(f"{len(record.learnt)} pairs to learn from, {len(others)} patients held out", flush=True)
    write = partial(record.write, folder)
    run(write, pairs, arguments.processes, f"of {len(pairs)} pairs")


def of_scans(arguments: argparse.Namespace) -> None:
    """Write the volumes of cases with all scans that they have."""
    table = read_table(arguments.pairs, arguments.same_patient, others=enhance_slabs.OTHERS)
    others = held_out_of(table, arguments.held_out)
    (arguments.folder / dose_pairs.HELD_OUT).mkdir(exist_ok=True)
    named = {
        case: arguments.folder / (dose_pairs.HELD_OUT if row["patient"] in others else "")
        for case, row in table.items()
    }
    print(f"{len(table)} cases, {len(others)} patients held out", flush=True)
    write = partial(enhance_slabs.write_row, folders=named)
    run(write, table.items(), arguments.processes, f"of {len(table)} cases")


def run(
    write: Callable[[Any], None], of: Iterable[Any], processes: int, total: str, step: int = 1
) -> None:
    """Call ``write`` with each of ``of``, on some processes, and tell how far it is."""
    with ProcessPoolExecutor(processes) as pool:
        for done, _ in enumerate(pool.map(write, of), 1):
            print(f"{step * done} {total}", flush=True)


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", type=Path)
    add("--for", choices=tuple(MAKE), default="sphere", dest="method")
    add("--patients", type=int, default=200)
    add("--first-seed", type=int, default=0, help="of the first two patients; of all pairs")
    add("--processes", type=int, default=os.cpu_count())
    add("--pairs", type=Path, help="a folder of pairs, as train_sphere_real.py takes it")
    add("--matched", type=Path, help="folder to keep matched pairs in; FOLDER/matched without it")
    add("--held-out", type=int, default=9, help="patients of the pairs not to learn from")
    add_same_patient(parser)
    arguments = parser.parse_args()
    if arguments.pairs and arguments.method not in ("lip_car", "hrfcn"):
        parser.error("--pairs makes slabs --for lip_car or hrfcn")
    return arguments


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
