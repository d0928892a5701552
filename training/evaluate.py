"""Measure methods as the papers do, and print a table: methods as rows, measures as columns.

    python training/evaluate.py --cases prepared --csv measured.csv --table sphere_2 \\
        --row sphere=sphere --row clamp=clamp --row reachable=reachable
    python training/evaluate.py --virtual same --patients 10 --corrupt motion --cache virtual \\
        --csv measured.csv --table sphere_3 --row ours=sphere_art:runs/art/bundle \\
        --row folded=sphere_art@aliasing --row corrupted=corrupted
    python training/evaluate.py --virtual same --slab 6 --table lip_car_3
    python training/evaluate.py --cases REAL --slab 16 --simulation mismatched --table lip_car_3
    python training/evaluate.py --virtual same --table lip_car_stability --plot stability.png

A row is NAME=METHOD[:WEIGHTS][@PRESET][,PARAMETER=VALUE]..., with a method of the library, or with
one of these, which need no weights. From post to pre (tables sphere_... and uptake):

    nothing     the post scan, taken for the pre scan
    clamp       the post scan, with what exceeds 1.2 medians of the brain set to the median
    reachable   the true pre scan in the uptake and the post scan outside, in medians
    corrupted   the pre scan with its artefacts (--corrupt), as it is

From the low to the full dose (tables lip_car_...), which have rows of their own when none is given:

    pre         the pre scan
    low         the low-dose scan
    difference  pre + (low - pre) / dose; ,denoiser=nlm denoises the low dose first
    h2l, ph2l   a forward operator of LIP-CAR alone, from the full to the low dose
    l2h, pl2h   a direct network of LIP-CAR on the low dose; ,denoiser=nlm denoises it first

Cases are a folder that prepare_data.py wrote, a folder with a cases.json of the form {"case":
{"pre": "t1.nii.gz", "post": "t1c.nii.gz"}}, or virtual patients. For the low-to-full tables the
low dose of a folder's pairs is simulated. --cache keeps virtual patients as the library made them
then: empty that folder after a change to the phantom. Every number goes into --csv as soon as it
is there, and is not measured again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data.prepared_cases import SPLITS
from evaluation.cache import Cache
from evaluation.cases import Item, items_in_folder
from evaluation.low_dose import SIMULATIONS, pool_items, simulated_items
from evaluation.low_to_full import LOW_TO_FULL
from evaluation.measuring import Evaluation, measure_all
from evaluation.rows import FORM, Row
from evaluation.stability import plot_stability
from evaluation.table import NOTE, markdown
from evaluation.tables import TABLES, Table
from evaluation.virtual import VIRTUAL_KINDS, virtual_items

from ContrastSynthLib.errors import ContrastSynthError, RequestError, unknown_name
from ContrastSynthLib.phantom.brain.parameters import CORRUPTION

DEFAULTS = {
    "post to pre": {"patients": 20, "seed": 1_000_000, "slab": 24},
    "low to full": {
        **{"patients": 10, "seed": 10_000, "slab": 8},
        **{"simulation": "mismatched", "noise": 0.03},
    },
}
"""Of options that mean another thing in each task; those that stand here for one task only are
refused for the other."""


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing and print the table of each region and each noise."""
    chosen = parse(arguments)
    table = TABLES[chosen.table]
    try:
        fill_in(chosen, table)
        rows = chosen_rows(chosen, table)
        data, items = chosen_items(chosen, low_dose=table.task is LOW_TO_FULL)
        evaluation = Evaluation(data, table.task, rows, table.noise, chosen.around_uptake)
        lines, failed = measure_all(evaluation, items, Cache(chosen.csv))
        labels = [row.name for row in rows]
        for region in evaluation.regions:
            for sigma in table.noise:
                which = (region, f"{sigma:g}")
                here = [line for line in lines if (line["region"], line["noise"]) == which]
                if here:
                    noise = f", added noise {sigma:g}" if len(table.noise) > 1 else ""
                    print(f"\n{data}, {region}{noise}:\n")
                    print(markdown(here, labels, table.headings, table.digits))
        print(f"\n{NOTE}\n\n{table.task.note}")
        if chosen.plot and lines:
            plot_stability(lines, labels, table.noise, chosen.plot)
        if failed:
            raise RequestError(f"{len(failed)} of {len(items)} cases failed; see above.")
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def chosen_rows(chosen: argparse.Namespace, table: Table) -> list[Row]:
    """Return the rows to measure. Raises RequestError for wrong ones, and when there are none."""
    texts = chosen.row or table.rows
    if not texts:
        raise RequestError(f"The table {chosen.table} has no rows of its own: give --row {FORM}")
    rows = [Row.parse(text, table.task) for text in texts]
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise RequestError(f"Two rows have one name: {', '.join(names)}.")
    for name in chosen.only or ():
        if name not in names:
            raise unknown_name("row", name, names)
    return [row for row in rows if not chosen.only or row.name in chosen.only]


def chosen_items(chosen: argparse.Namespace, *, low_dose: bool) -> tuple[str, list[Item]]:
    """Return the name of the data and its cases. Raises RequestError when none is left."""
    slices = None if chosen.whole else chosen.slab
    if chosen.cases:
        data, items = chosen.cases.resolve().name, items_in_folder(chosen.cases, chosen.split)
        if low_dose:
            size = f"{slices} slices" if slices else "all slices"
            data += f", {chosen.simulation} low dose, noise {chosen.noise:g}, {size}"
            items = simulated_items(items, chosen.simulation, chosen.noise, slices)
    elif chosen.pool:
        data = f"virtual patients of the training, {slices or 'all'} slices"
        items = pool_items(chosen.pool, chosen.patients, slices)
    else:
        data = f"virtual {chosen.virtual}, {chosen.spacing:g} mm"
        items = virtual_items(
            chosen.virtual,
            range(chosen.seed, chosen.seed + chosen.patients),
            slices=slices,
            corruption=chosen.corrupt,
            low_dose=low_dose,
            cache=chosen.cache,
            spacing_mm=chosen.spacing,
        )
    for name in chosen.case or ():
        if name not in [item.name for item in items]:
            raise unknown_name("case", name, [item.name for item in items])
    items = [item for item in items if not chosen.case or item.name in chosen.case]
    if not items:
        raise RequestError("There is no case to measure. Choose another --split, or more patients.")
    return data, items


def fill_in(chosen: argparse.Namespace, table: Table) -> None:
    """Set the options that were not given to the defaults of the task.

    Raises RequestError for an option that the table cannot use.
    """
    task = table.task.name
    low_dose = table.task is LOW_TO_FULL
    of_the_other = ["corrupt"] if low_dose else ["pool", "simulation", "noise"]
    if len(table.noise) == 1:
        of_the_other.append("plot")
    for option in of_the_other:
        if getattr(chosen, option) is not None:
            raise RequestError(
                f"--{option} is of no use for the table {chosen.table}, which is from {task}"
                f"{', without added noise' if option == 'plot' else ''}. Leave it out."
            )
    for option, value in DEFAULTS[task].items():
        if getattr(chosen, option) is None:
            setattr(chosen, option, value)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--cases", type=Path, metavar="FOLDER", help="pairs of scans")
    data.add_argument(
        "--virtual", choices=tuple(VIRTUAL_KINDS), help="patients like those of the training or not"
    )
    data.add_argument("--pool", type=Path, metavar="FOLDER", help="slabs of LIP-CAR's training")
    add("--table", default="sphere_2", choices=tuple(TABLES), help="of a paper")
    add("--row", action="append", metavar=FORM, help="what to measure; see above")
    add("--only", action="append", metavar="NAME", help="only this row")
    add("--case", action="append", metavar="NAME", help="only this case")
    add("--split", default="test", choices=SPLITS, help="of a prepared folder")
    add("--patients", type=int, help="virtual ones: 20, low to full 10")
    add("--seed", type=int, help="of the first virtual one: 1000000, low to full 10000")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--slab",
        type=int,
        metavar="SLICES",
        help="of a virtual patient, or with a simulated low dose: 24, low to full 8",
    )
    size.add_argument("--whole", action="store_true", help="all slices instead of a slab")
    add("--spacing", type=float, default=1.0, metavar="MM", help="of virtual patients")
    add("--corrupt", choices=tuple(CORRUPTION), help="artefacts of virtual pre scans")
    add("--simulation", choices=tuple(SIMULATIONS), help="of the low dose of pairs: mismatched")
    add("--noise", type=float, help="of a simulated low dose, in medians of the brain: 0.03")
    add("--cache", type=Path, metavar="FOLDER", help="keeps virtual patients")
    add("--around-uptake", type=int, default=0, metavar="SLICES", help="measure there as well")
    add("--csv", type=Path, metavar="FILE", help="keeps what was measured")
    add("--plot", type=Path, metavar="PNG", help="of the table lip_car_stability")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
