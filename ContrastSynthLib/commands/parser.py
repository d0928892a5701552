"""The options of the commands, as argparse reads them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ContrastSynthLib import __version__
from ContrastSynthLib.commands import (
    brains,
    choices,
    histories,
    kinetics,
    measures,
    phantoms,
    runs,
    series,
    weights,
)
from ContrastSynthLib.commands.archives import add_archive
from ContrastSynthLib.commands.bids_options import add_bids
from ContrastSynthLib.commands.cohorts import add_cohort
from ContrastSynthLib.commands.dicoms import add_dicom
from ContrastSynthLib.commands.options import csv_option, json_option, pair, ras
from ContrastSynthLib.commands.serving import add_serve
from ContrastSynthLib.commands.study_options import add_study
from ContrastSynthLib.files.selection import numbers_in
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.running.devices import DEVICES
from ContrastSynthLib.running.jobs import PROGRESS_CHOICES

RESEARCH_ONLY = "For research only: not a medical device."
FINDS_BRAIN = "auto: find the brain, also in a whole head (pip install contrastsynth[brain-mask])"
RAS_OPTIONS = ("--from", "--to")
MAY_BEGIN_WITH_MINUS = (*RAS_OPTIONS, "--times")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line; ``command`` is the function of its command.

    Ends the process with exit code 2 and a message for arguments that are wrong.
    """
    return build_parser().parse_args(_join_numbers(list(arguments)))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="contrastsynth", description=f"Synthesis of contrast-enhanced MR. {RESEARCH_ONLY}"
    )
    parser.add_argument("--version", action="version", version=f"contrastsynth {__version__}")
    add = parser.add_subparsers(required=True, metavar="COMMAND").add_parser
    _methods(add("methods", help="list the methods, or show one"))
    _run(add("run", help="run a method on the scans of one patient"))
    _batch(add("batch", help="run a method on a table of patients"))
    add_cohort(add("cohort", help="all patients of a batch: a table, and a page to skim"))
    _evaluate(add("evaluate", help="compare a synthetic volume with the true one"))
    _brain(add("brain", help="find the brain in a T1 scan of a head"))
    _uptake(add("uptake", help="segment contrast uptake, from a pre and a post scan"))
    _profile(add("profile", help="values along a line through one or more volumes"))
    _kinetics(add("kinetics", help="the kinetic curve of a region in a dynamic series"))
    _history(add("history", help="the iterations of the solver that made a result"))
    _phantom(add("phantom", help="make a virtual patient, whose true images are known"))
    _weights(add("weights", help="list, verify or import the weights of networks"))
    _series(add("series", help="list the series of a DICOM study, and propose which one is what"))
    add_dicom(add("dicom", help="write a result as DICOM, beside the series that it came from"))
    add_archive(add("archive", help="find and fetch studies in an archive, send results back"))
    add_bids(add("bids", help="read a BIDS data set, write one of results"))
    add_serve(add("serve", help="receive studies, run methods on them, send the results back"))
    add_study(add("study", help="make, read, analyse and report a blinded reader study"))
    add("env", help="print versions and devices, for a bug report").set_defaults(command=runs.env)
    return parser


def _series(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", type=Path, metavar="STUDY", help="folder of a study, or a DICOMDIR")
    add("--study", metavar="NUMBER|UID", help="one of several studies")
    add(
        "--role",
        action="append",
        default=[],
        dest="roles",
        type=pair("ROLE=NUMBER"),
        metavar="ROLE=NUMBER",
        help="a series in a role, instead of the proposal; NUMBER@2: its second phase; ROLE=none: "
        "no series; repeatable",
    )
    add("--split", type=Path, metavar="DIR", help="also put each series into a folder of its own")
    json_option(parser)
    parser.set_defaults(command=series.series)


def _methods(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", nargs="?", help="show this method with its parameters")
    json_option(parser)
    parser.set_defaults(command=runs.methods)


def _how_to_run(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``run`` and ``batch`` have in common."""
    parser.add_argument("method", metavar="METHOD", help="key of the method")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of results")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=pair("NAME=VALUE"),
        metavar="NAME=VALUE",
        help="a parameter of the method; repeatable",
    )
    parser.add_argument("--preset", help="a named set of parameters, such as paper")
    _align_option(parser)
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[NETWORK=]ID|PATH",
        help="other weights than the default; repeatable where a method has several networks",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of random numbers (default: drawn at random)"
    )
    parser.add_argument(
        "--phases",
        default=(),
        type=_phases,
        metavar="N,N-N",
        help="of a series that is given to a method of single volumes, only these phases, such as "
        "1,3-5 (default: all)",
    )
    parser.add_argument("--device", default="auto", help=f"one of {', '.join(DEVICES)}")


def _run(parser: argparse.ArgumentParser) -> None:
    _how_to_run(parser)
    parser.add_argument(
        "--in",
        action="append",
        default=[],
        dest="inputs",
        type=pair("ROLE=FILE"),
        metavar="ROLE=FILE",
        help="an input, a file or a DICOM folder; FILE#3 is phase 3 of a series; repeatable",
    )
    parser.add_argument("--mask", metavar="FILE|auto", help=f"the brain or breast; {FINDS_BRAIN}")
    parser.add_argument(
        "--time",
        action="append",
        default=[],
        type=float,
        metavar="SECONDS",
        help="seconds after injection, one for each volume of a series or phase; repeatable",
    )
    _progress_option(parser)
    json_option(parser)
    parser.set_defaults(command=runs.run)


def _batch(parser: argparse.ArgumentParser) -> None:
    _how_to_run(parser)
    parser.add_argument(
        "--cases",
        required=True,
        type=Path,
        metavar="CASES.csv",
        help="a column 'case', and one for each role or parameter",
    )
    parser.add_argument(
        "--mask", choices=("auto",), help=f"of patients without a mask in the table: {FINDS_BRAIN}"
    )
    parallel = parser.add_mutually_exclusive_group()
    parallel.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="cases run in parallel here"
    )
    parallel.add_argument(
        "--scheduler", metavar="ADDRESS", help="run the cases on the workers of a Dask scheduler"
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep results that were made with the same request"
    )
    _progress_option(parser)
    parser.set_defaults(command=runs.batch)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reference", required=True, metavar="FILE", help="the true volume")
    parser.add_argument("--synthetic", required=True, metavar="FILE")
    parser.add_argument("--pre", metavar="FILE", help="with --post: also measure inside the uptake")
    parser.add_argument("--post", metavar="FILE")
    parser.add_argument(
        "--mask",
        metavar="FILE|auto",
        help="also measure inside this region; auto: find the brain, and measure in it instead of "
        "in all voxels above 0",
    )
    _align_option(parser)
    parser.add_argument(
        "--normalise",
        default="median",
        choices=choices.normalisations,
        metavar="HOW",
        help="one of %(choices)s; median (default): each volume is divided by its median in the "
        "brain; none: intensities as in the files",
    )
    parser.add_argument(
        "--map",
        type=Path,
        metavar="FILE",
        help="write a label map of enhancement: 1 found, 2 missed, 3 invented, and 4 lost part, "
        "5 added part of a found lesion",
    )
    parser.add_argument(
        "--uncertainty",
        metavar="FILE",
        help="with --pre and --post: the map of uncertainty that the method gave out; each lesion "
        "is listed with its mean in it",
    )
    _progress_option(parser)
    json_option(parser)
    parser.set_defaults(command=measures.evaluate)


def _brain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--volume", required=True, metavar="FILE", help="a T1 scan of a head")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the mask")
    _progress_option(parser)
    json_option(parser)
    parser.set_defaults(command=brains.brain)


def _uptake(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pre", required=True, metavar="FILE")
    parser.add_argument("--post", required=True, metavar="FILE")
    parser.add_argument("--mask", metavar="FILE|auto", help=f"the brain or breast; {FINDS_BRAIN}")
    _align_option(parser)
    parser.add_argument(
        "--convention",
        default="sphere",
        choices=choices.uptake_conventions,
        metavar="NAME",
        help="normalisation of the scans: one of %(choices)s (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=UPTAKE_THRESHOLD,
        help="least difference, as a fraction of the reference level (default: %(default)s)",
    )
    parser.add_argument(
        "--reference-level",
        choices=choices.reference_levels,
        metavar="LEVEL",
        help="one of %(choices)s, instead of the one of the convention",
    )
    parser.add_argument("--soft", action="store_true", help="write values from 0 to 1, not a mask")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")
    json_option(parser)
    parser.set_defaults(command=measures.uptake)


def _profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--volume", required=True, nargs="+", metavar="FILE")
    _align_option(parser)
    for option, name in zip(RAS_OPTIONS, ("start", "end"), strict=True):
        parser.add_argument(
            option, required=True, type=ras, dest=name, metavar="R,A,S", help="point in mm"
        )
    csv_option(parser, "values")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    json_option(parser)
    parser.set_defaults(command=measures.profile)


def _kinetics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--series", required=True, metavar="FILE", help="a 4D file or DICOM folder")
    parser.add_argument(
        "--times",
        metavar="S,S,...|TABLE",
        help="seconds, or a CSV table with a column time_s; default: those of the file",
    )
    parser.add_argument("--mask", required=True, metavar="FILE", help="the region to measure")
    parser.add_argument(
        "--each-label", action="store_true", help="measure each label of the mask as a region"
    )
    _align_option(parser)
    parser.add_argument("--compare", metavar="FILE", help="a synthetic series of the same patient")
    csv_option(parser, "curves")
    parser.add_argument("--maps", type=Path, metavar="DIR", help="write a map of each measure")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    json_option(parser)
    parser.set_defaults(command=kinetics.kinetics)


def _history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", type=Path, metavar="DIR", help="the folder of a result")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    json_option(parser)
    parser.set_defaults(command=histories.history)


def _phantom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("anatomy", choices=tuple(phantoms.ANATOMIES))
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same patient")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--dose",
        metavar="D,D,...",
        help="brain: doses of the low scans, as fractions of the full dose "
        f"(default: {phantoms.DEFAULT_DOSE:g})",
    )
    parser.add_argument(
        "--phases",
        type=_positive,
        metavar="N",
        help="breast: number of phases after the agent (default: as in the paper)",
    )
    parser.add_argument(
        "--corrupt",
        choices=choices.artefacts,
        metavar="ARTEFACT",
        help="brain: also make a pre scan with an artefact, one of %(choices)s",
    )
    parser.add_argument("--head", action="store_true", help="brain: with scalp, skull and orbits")
    parser.add_argument(
        "--spacing",
        type=float,
        metavar="MM",
        help=f"brain: size of a voxel (default: {phantoms.DEFAULT_SPACING_MM:g})",
    )
    parser.add_argument(
        "--kind",
        default="training",
        choices=choices.patient_kinds,
        metavar="KIND",
        help="brain: one of %(choices)s; different: every parameter lies outside the ranges that "
        "the shipped weights were trained on",
    )
    parser.set_defaults(command=phantoms.phantom)


def _weights(parser: argparse.ArgumentParser) -> None:
    add = parser.add_subparsers(required=True, metavar="ACTION").add_parser
    listing = add("list", help="list shipped and imported weights")
    json_option(listing)
    listing.set_defaults(command=weights.list_weights)
    verifying = add("verify", help="check weights by their SHA-256")
    verifying.add_argument("names", nargs="*", metavar="ID|PATH", help="only these weights")
    verifying.set_defaults(command=weights.verify_weights)
    importing = add("import", help="copy weights into the user's folder")
    importing.add_argument(
        "path", type=Path, metavar="PATH", help="folder of a bundle, or a .zip file of one"
    )
    importing.set_defaults(command=weights.import_weights)


def _align_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--align",
        default="none",
        choices=choices.alignments,
        metavar="MODE",
        help="how to bring the inputs onto one grid, one of %(choices)s (default: none, which "
        "refuses inputs on different grids)",
    )


def _progress_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--progress", default="bar", choices=PROGRESS_CHOICES)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value


def _phases(text: str) -> tuple[int, ...]:
    try:
        return tuple(numbers_in(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not numbers of phases from 1 in their order, such as 1,3-5"
        ) from None


def _join_numbers(arguments: list[str]) -> list[str]:
    """Write '--from -10,5,3' as '--from=-10,5,3': argparse would read -10,5,3 as an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in MAY_BEGIN_WITH_MINUS:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined
