"""Measure methods as the papers do, and print a table: methods as rows, measures as columns.

    python training/evaluate.py --cases prepared --csv measured.csv --table sphere_2 \\
        --row sphere=sphere --row clamp=clamp --row reachable=reachable
    python training/evaluate.py --virtual same --patients 10 --corrupt motion --cache virtual \\
        --csv measured.csv --table sphere_3 --row ours=sphere_art:runs/art/bundle \\
        --row folded=sphere_art@aliasing --row corrupted=corrupted
    python training/evaluate.py --cases PAIRS MORE_PAIRS --case one two --csv measured.csv \\
        --table sphere_real --row new=sphere:runs/real/best,three_directions=false --row old=sphere
    python training/evaluate.py --virtual same --slab 6 --table lip_car_3
    python training/evaluate.py --cases REAL --slab 16 --simulation mismatched --table lip_car_3
    python training/evaluate.py --virtual same --table lip_car_stability --plot stability.png
    python training/evaluate.py --cases PAIRS --dose 0.1 --table any_dose --plot statistics.png

A row is NAME=METHOD[:WEIGHTS][@PRESET][,PARAMETER=VALUE]..., with a method of the library (WEIGHTS
of two networks: sphere_art:sphere=runs/real/best+sphere_art=runs/art/bundle), or with one of these,
which need no weights. From post to pre (tables sphere_..., uptake, uncertainty):

    nothing     the post scan, taken for the pre scan
    clamp       the post scan, with what exceeds 1.2 medians of the brain set to the median
    reachable   the true pre scan in the uptake and the post scan outside, in medians
    corrupted   the pre scan with its artefacts (--corrupt), as it is
    target      what was asked for: the post scan as it would be without agent (virtual patients)
    second_scan the scan before the agent, as if it were an answer

From the low to the full dose (tables lip_car_...), which have rows of their own when none is given:

    pre         the pre scan
    low         the low-dose scan
    difference  pre + (low - pre) / dose; ,denoiser=nlm denoises the low dose first
    chain       vcm of what lowdose_gan makes of pre and the full dose
    h2l, ph2l   a forward operator of LIP-CAR alone, from the full to the low dose
    l2h, pl2h   a direct network of LIP-CAR on the low dose; ,denoiser=nlm denoises it first

lip_car@paper,alpha=schedule raises the preset's alpha with the added noise, as the paper does.

From two scans to a low dose (table any_dose), with rows of its own when none is given; rows that
have a parameter ``dose`` get that of --dose:

    linear      pre + dose x (post - pre), at the gain of pre
    native      the pre scan
    full        the full-dose scan
    post_alone  physics_dose of the post scan and the pre scan that sphere makes of it

From scans without an agent to the full dose (table enhance); ,without=t2+adc leaves out scans:

    t1          the pre scan, taken for the post scan

Cases are a folder that prepare_data.py wrote, a folder with a cases.json of the form {"case":
{"pre": "t1.nii.gz", "post": "t1c.nii.gz"}} (for the table enhance with t2, flair and adc), or
virtual patients.

Virtual patients are compared, in the tables sphere_2, sphere_5 and uptake, with the target: the
post scan as it would be without agent. Two rows stand beside those asked for, the target itself
(ceiling) and the scan before the agent (second scan). ``--against second_scan`` compares with the
latter, as of real pairs, where even the ceiling leaves an error; sphere_3 always does, since
SPHERE-Art makes the pre scan as it was scanned. The tables sphere_real and uncertainty compare with
the pre scan in the contrast and shading of the post scan, of virtual patients with the target.

For the tables with a low dose that of a folder's pairs is simulated. --cache keeps virtual patients
as the library made them then: empty that folder after a change to the phantom. Every number goes
into --csv as soon as it is there, and is not measured again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from data import DOSE
from data.pair_options import add_same_patient
from data.prepared_cases import SPLITS
from evaluation.any_dose import ANY_DOSE, doses_of_pairs
from evaluation.cache import Cache
from evaluation.cases import Item, items_in_folder, refuse_unknown
from evaluation.enhance import ENHANCE, about_most_uptake
from evaluation.low_dose import SIMULATIONS, pool_items, simulated_items
from evaluation.low_to_full import LOW_TO_FULL
from evaluation.matched_pairs import MATCHED_PAIRS
from evaluation.measuring import Evaluation, measure_all
from evaluation.post_to_pre import BOUNDS, POST_TO_TARGET
from evaluation.rows import FORM, Row
from evaluation.table import NOTE, by_case, markdown
from evaluation.tables import AGAINST, TABLES, Table
from evaluation.task import Task
from evaluation.uncertainty import calibration_table
from evaluation.virtual import VIRTUAL_KINDS, virtual_items
from evaluation.virtual_breasts import BREAST, breast_items

from ContrastSynthLib.errors import ContrastSynthError, RequestError, unknown_name
from ContrastSynthLib.phantom.brain.parameters import CORRUPTION

DEFAULTS = {
    "post to pre": {"patients": 20, "seed": 1_000_000, "slab": 24},
    "low to full": {
        **{"patients": 10, "seed": 10_000, "slab": 8},
        **{"simulation": "mismatched", "noise": 0.03, "dose": DOSE},
    },
    "without an agent": {"patients": 10, "seed": 10_000, "slab": 24},
    "any dose": {
        **{"patients": 10, "seed": 10_000, "slab": 24},
        **{"simulation": "mismatched", "dose": DOSE},
    },
}
"""Of options that mean another thing in each task; those that stand here for one task only are
refused for the other."""


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing and print the table of each region and each noise."""
    chosen = parse(arguments)
    table = TABLES[chosen.table]
    try:
        kept = Cache(chosen.csv)
        task, rows, data, items = asked_for(chosen)
        evaluation = Evaluation(data, task, rows, table.noise, chosen.around_uptake)
        lines, failed = measure_all(evaluation, items, kept)
        labels = [row.name for row in rows]
        for region in evaluation.regions:
            for sigma in table.noise:
                which = (region, f"{sigma:g}")
                here = [line for line in lines if (line["region"], line["noise"]) == which]
                if here:
                    noise = f", added noise {sigma:g}" if len(table.noise) > 1 else ""
                    print(f"\n{data}, {region}{noise}:\n")
                    print_tables(table, here, labels)
        print(f"\n{NOTE}\n\n{task.note}")
        if chosen.plot and lines and table.plot:
            table.plot(lines, labels, chosen.plot)
        if failed:
            raise RequestError(f"{len(failed)} of {len(items)} cases failed; see above.")
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def print_tables(table: Table, lines: list[dict[str, str]], labels: list[str]) -> None:
    """Print the means of what was measured, and what else belongs to the table."""
    print(markdown(lines, labels, table.headings, table.digits, tested=table.tested))
    if table.by_case:
        print(f"\n{by_case(lines, labels, table.headings, table.digits)}")
    if table.calibrated and (text := calibration_table(lines, labels)):
        print(f"\n{text}")


def asked_for(chosen: argparse.Namespace) -> tuple[Task, list[Row], str, list[Item]]:
    """Return the task, its rows, the name of the data, and its cases.

    Raises RequestError for what cannot be measured.
    """
    table = TABLES[chosen.table]
    fill_in(chosen, table)
    task = chosen_task(chosen, table)
    return task, chosen_rows(chosen, table, task), *chosen_items(chosen, task)


def chosen_task(chosen: argparse.Namespace, table: Table) -> Task:
    """Return the task of the table, with the truth that the cases have."""
    if table.of_target and chosen.virtual and chosen.against != "second_scan":
        return table.of_target
    return table.task


def chosen_rows(chosen: argparse.Namespace, table: Table, task: Task) -> list[Row]:
    """Return the rows to measure. Raises RequestError for wrong ones, and when there are none."""
    texts = chosen.row or table.rows
    if not texts:
        raise RequestError(f"The table {chosen.table} has no rows of its own: give --row {FORM}")
    if table.of_target and chosen.virtual:
        texts = [*texts, *(text for text in BOUNDS if text not in texts)]
    rows = [Row.parse(text, task) for text in texts]
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise RequestError(f"Two rows have one name: {', '.join(names)}.")
    for name in chosen.only or ():
        if name not in names:
            raise unknown_name("row", name, names)
    return [row for row in rows if not chosen.only or row.name in chosen.only]


def chosen_items(chosen: argparse.Namespace, task: Task) -> tuple[str, list[Item]]:
    """Return the name of the data and its cases. Raises RequestError when none is left."""
    slices = None if chosen.whole else chosen.slab
    if chosen.cases:
        data = "+".join(folder.resolve().name for folder in chosen.cases)
        items = pairs_of(chosen, task)
        size = f"{slices} slices" if slices else "all slices"
        if task is LOW_TO_FULL:
            data += f", {chosen.simulation} low dose, noise {chosen.noise:g}, {size}"
            items = simulated_items(
                items, chosen.simulation, chosen.noise, slices, dose=chosen.dose
            )
        elif task is ANY_DOSE:
            data += f", {chosen.simulation} low dose, {size}"
            items = doses_of_pairs(items, chosen.simulation, chosen.dose, slices)
        elif task is ENHANCE:
            data += f", {size}"
            items = about_most_uptake(items, slices)
    elif chosen.pool:
        data = f"virtual patients of the training, {slices or 'all'} slices"
        items = pool_items(chosen.pool, chosen.patients, slices)
    else:
        data, items = chosen_virtual(chosen, task, slices)
    if chosen.dose not in (None, DOSE):
        data += f", dose {chosen.dose:g}"
    if task is POST_TO_TARGET:
        data += ", against the target"
    if task is MATCHED_PAIRS:
        data += ", in the contrast of the post scan"
    refuse_unknown(chosen.case or (), items)
    items = [item for item in items if not chosen.case or item.name in chosen.case]
    if not items:
        raise RequestError("There is no case to measure. Choose another --split, or more patients.")
    return data, items


def chosen_virtual(
    chosen: argparse.Namespace, task: Task, slices: int | None
) -> tuple[str, list[Item]]:
    """Return the name of the virtual patients and their cases."""
    seeds = range(chosen.seed, chosen.seed + chosen.patients)
    if chosen.virtual == BREAST:
        return "virtual breasts", breast_items(seeds, slices=slices)
    items = virtual_items(
        chosen.virtual,
        seeds,
        slices=slices,
        corruption=chosen.corrupt,
        low_dose=chosen.dose,
        unenhanced=task is MATCHED_PAIRS or TABLES[chosen.table].of_target is not None,
        others=task.others,
        cache=chosen.cache,
        spacing_mm=chosen.spacing,
    )
    return f"virtual {chosen.virtual}, {chosen.spacing:g} mm", items


def pairs_of(chosen: argparse.Namespace, task: Task) -> list[Item]:
    """Return the cases of all folders, those of one patient under one name.

    Raises RequestError for a case that two folders have, and an unknown one of --same-patient.
    """
    items = [
        item
        for folder in chosen.cases
        for item in items_in_folder(folder, chosen.split, task.others)
    ]
    names = [item.name for item in items]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"Two folders have a case '{name}'. Measure them one by one.")
    for group in chosen.same_patient:
        refuse_unknown(group, items)
        items = [replace(i, patient=group[0]) if i.name in group else i for i in items]
    return items


def fill_in(chosen: argparse.Namespace, table: Table) -> None:
    """Set the options that were not given to the defaults of the task.

    Raises RequestError for an option that the table cannot use.
    """
    task = table.task.name
    of_the_other = {
        "post to pre": ["pool", "simulation", "noise", "dose"],
        "low to full": ["corrupt"],
        "without an agent": ["corrupt", "pool", "simulation", "noise", "dose"],
        "any dose": ["corrupt", "pool", "noise"],
    }[task]
    if chosen.virtual == BREAST:
        if not table.of_target:
            known = [name for name, each in TABLES.items() if each.of_target]
            raise RequestError(
                f"Virtual breasts have no scans for the table {chosen.table}. They serve "
                f"{', '.join(known)}."
            )
        of_the_other += ["corrupt", "cache"]
    if not (table.of_target and chosen.virtual):
        of_the_other.append("against")
    if table.plot is None:
        of_the_other.append("plot")
    for option in of_the_other:
        if getattr(chosen, option) is not None:
            why = {"plot": " and not drawn", "against": ", or for real scans"}.get(option, "")
            raise RequestError(
                f"--{option} is of no use for the table {chosen.table}, which is from {task}{why}. "
                "Leave it out."
            )
    for option, value in DEFAULTS[task].items():
        if getattr(chosen, option) is None:
            setattr(chosen, option, value)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_cases_and_rows(parser)
    add = parser.add_argument
    add("--around-uptake", type=int, default=0, metavar="SLICES", help="measure there as well")
    add("--csv", type=Path, metavar="FILE", help="keeps what was measured")
    add("--plot", type=Path, metavar="PNG", help="of any_dose, lip_car_2 and lip_car_stability")
    return parser.parse_args(arguments)


def add_cases_and_rows(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name a table, its rows, and the cases."""
    add = parser.add_argument
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--cases", type=Path, nargs="+", metavar="FOLDER", help="pairs of scans, of each folder"
    )
    data.add_argument(
        "--virtual",
        choices=(*VIRTUAL_KINDS, BREAST),
        help="patients like those of the training or not; breasts for tables from post to pre",
    )
    data.add_argument("--pool", type=Path, metavar="FOLDER", help="slabs of LIP-CAR's training")
    add("--table", default="sphere_2", choices=tuple(TABLES), help="of a paper")
    add("--row", action="append", metavar=FORM, help="what to measure; see above")
    add("--only", action="append", metavar="NAME", help="only this row")
    add("--case", action="extend", nargs="+", metavar="NAME", help="only these cases")
    add_same_patient(parser)
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
    add("--against", choices=AGAINST, help="the truth of virtual patients: target")
    add("--simulation", choices=tuple(SIMULATIONS), help="of the low dose of pairs: mismatched")
    add("--dose", type=float, help=f"the low one, of the full one: {DOSE:g}")
    add("--noise", type=float, help="of a simulated low dose, in medians of the brain: 0.03")
    add("--cache", type=Path, metavar="FOLDER", help="keeps virtual patients")
    parser.set_defaults(plot=None)


if __name__ == "__main__":
    sys.exit(main())
