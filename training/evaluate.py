"""A paper's table: methods as rows, measures as columns, on real or on held-out virtual patients.

    python training/evaluate.py --cases prepared --csv real.csv --table 2 \\
        --row "sphere=sphere:weights/sphere" --row "physics=physics_pre" \\
        --row clamp=clamp --row nothing=nothing --row reachable=reachable
    python training/evaluate.py --virtual different --patients 20 --slab 24 --corrupt motion \\
        --cache virtual --csv art.csv --table 3 \\
        --row "sphere_art=sphere_art:weights/sphere_art" --row corrupted=corrupted

A row is a method of the library, with its weights where it has any, or one that needs none:

- ``nothing``: the post scan, taken for the pre scan;
- ``clamp``: the post scan, with what exceeds 1.2 medians of the brain set to the median;
- ``reachable``: the true pre scan in the uptake and the post scan outside, in medians;
- ``corrupted``: the pre scan with its artefacts, as it is.

Cases are a folder that prepare_data.py wrote, a folder with a cases.json of the form {"case":
{"pre": "t1.nii.gz", "post": "t1c.nii.gz"}}, or virtual patients with seeds from --seed on: a
patient of training is one of those with a chance of 1 in 2^31 each. --cache keeps them as the
library made them then; empty that folder after a change to the phantom.

Every number goes into --csv as soon as it is there, and is not measured again. Each volume is
divided by its own median in the brain and clipped at 0; the range is the 99.9th percentile of
the pre scan. Uptake is where post exceeds pre by more than a tenth of that range.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from evaluation_cases import VIRTUAL_KINDS, Item, Scans, items_in_folder, virtual_items
from evaluation_table import MEASURES, NOTE, TABLES, markdown
from evaluation_uptake import MEASURES as UPTAKE_MEASURES
from evaluation_uptake import measure_uptake
from prepare_data import SPLITS

from ContrastSynthLib import __version__
from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.errors import ContrastSynthError, MissingError, RequestError, unknown_name
from ContrastSynthLib.metrics import lpips, mae
from ContrastSynthLib.metrics.perceptual import SMALLEST_SLICE_VOXELS
from ContrastSynthLib.phantom.brain.parameters import CORRUPTION
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.registry import METHODS, find_method
from ContrastSynthLib.running.run import Request, run
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from ContrastSynthLib.weights.bundles import find_bundle

CONVENTION = "real_scans"
CLAMP_MEDIANS = 1.2
REACHABLE = "reachable"
WHOLE = "whole"

KEY = ("data", "case", "region", "label", "method", "weights")
COLUMNS = (*KEY, "patient", "contrastsynth", *MEASURES)


@dataclass(frozen=True)
class Row:
    """A row of the table: a built-in one or a method of the library, with its weights."""

    label: str
    method: str
    weights: str = ""

    @classmethod
    def parse(cls, text: str) -> Row:
        """Return the row of LABEL=METHOD[:WEIGHTS]. Raises RequestError for another form."""
        label, _, what = text.partition("=")
        method, _, weights = what.partition(":")
        if not (label.strip() and method):
            raise RequestError(f"--row '{text}' is not of the form LABEL=METHOD[:WEIGHTS].")
        if method in (*BUILT_IN, REACHABLE):
            if weights:
                raise RequestError(f"--row '{text}': '{method}' has no weights.")
        elif method not in METHODS:
            raise unknown_name("method", method, [*BUILT_IN, REACHABLE, *METHODS])
        elif "pre" not in find_method(method).outputs:
            raise RequestError(f"--row '{text}': {method} makes no pre scan.")
        elif weights and find_method(method).weights is None:
            raise RequestError(f"--row '{text}': '{method}' has no weights.")
        return cls(label.strip(), method, weights)

    @property
    def weights_id(self) -> str:
        """The id of the weights that are meant, the method's own by default; empty without any.

        Raises MissingError and RequestError, before anything is measured, as a run would.
        """
        own = None if self.method in (*BUILT_IN, REACHABLE) else find_method(self.method).weights
        return find_bundle(self.weights or own, self.method).id if own else ""


def in_medians(volume: Volume, brain: BoolArray) -> FloatArray:
    """Return a scan (k, j, i) in medians of the brain, clipped at 0."""
    return np.maximum(fit("median", volume.array, brain).apply(volume.array), np.float32(0))


def uptake_of(scans: Scans) -> BoolArray:
    """Return where the agent went, (k, j, i)."""
    pre, post = scans.scans["pre"], scans.scans["post"]
    return uptake(pre, post, scans.brain, convention=CONVENTION).binary


def _nothing(scans: Scans) -> Volume:
    return scans.scans["post"]


def _clamp(scans: Scans) -> Volume:
    post = scans.scans["post"]
    median = np.median(post.array[scans.brain])
    return post.with_array(np.where(post.array > CLAMP_MEDIANS * median, median, post.array))


def _corrupted(scans: Scans) -> Volume:
    return _role(scans, "corrupted")


BUILT_IN: dict[str, Callable[[Scans], Volume]] = {
    "nothing": _nothing,
    "clamp": _clamp,
    "corrupted": _corrupted,
}


def _role(scans: Scans, role: str) -> Volume:
    if role not in scans.scans:
        raise RequestError(
            f"The case has no scan '{role}'. Prepare it with that column, or add --corrupt to "
            "--virtual."
        )
    return scans.scans[role]


def synthesise(row: Row, scans: Scans) -> Mapping[str, Volume]:
    """Return what a row makes, ``pre`` and perhaps ``uptake``; nothing for what can be reached.

    Raises RequestError for a scan that the row lacks.
    """
    if row.method == REACHABLE:
        return {}
    if row.method in BUILT_IN:
        return {"pre": BUILT_IN[row.method](scans)}
    declared = find_method(row.method).inputs
    wanted = [role for role in declared if not declared[role].optional or role in scans.scans]
    inputs = {role: _role(scans, role) for role in wanted if role != "pre"}
    if scans.mask is not None:
        inputs["mask"] = scans.mask
    return run(Request(row.method, inputs, weights=row.weights or None)).outputs


def measure(
    scans: Scans, result: Mapping[str, Volume], brain: BoolArray
) -> dict[str, float | None]:
    """Return the measures inside ``brain``; None where one is undefined.

    ``result`` is what :func:`synthesise` returns. Without ``pre`` it is the true one in the
    uptake and post outside, put together in medians, and not divided by a median of its own.
    """
    pre, post = (scans.scans[role] for role in ("pre", "post"))
    where = uptake(pre, post, brain, convention=CONVENTION).binary
    real, given = (in_medians(volume, brain) for volume in (pre, post))
    made = in_medians(result["pre"], brain) if "pre" in result else np.where(where, real, given)
    before, after, synthetic = (pre.with_array(image) for image in (real, given, made))
    report = evaluate(before, synthetic, pre=before, post=after, brain=brain, normalise="none")
    whole, agent = report["regions"]["brain"], report["regions"]["uptake"]
    span, rest = report["data_range"], brain & ~where
    found: dict[str, float | None] = dict.fromkeys(UPTAKE_MEASURES)
    if "uptake" in result:
        found = measure_uptake(result["uptake"].array, scans.truth, brain, pre.grid)
    return {
        "psnr_db": whole["psnr_db"],
        "ssim": whole["ssim"],
        "rmse": whole["rmse"],
        "cnr_error": report["contrast"]["cnr_error"],
        "lpips": _lpips(real, made, brain, span),
        "gradient_rmse": agent["gradient_magnitude_rmse"],
        "cfs": agent["cfs"],
        "irc": agent["irc"],
        "eis": agent["eis"],
        "share_of_reachable": report["scale"]["share_of_reachable"],
        "uptake_mae": agent["mae"],
        "uptake_mae_of_nothing": report["scale"]["uptake_mae_of_do_nothing"],
        "outside_change": mae(given, made, mask=rest) / span if rest.any() else None,
        **found,
    }


def _lpips(real: FloatArray, made: FloatArray, brain: BoolArray, span: float) -> float | None:
    if min(real.shape[1:]) < SMALLEST_SLICE_VOXELS:
        return None
    try:
        return lpips(real, made, data_range=span, mask=brain)
    except MissingError:
        return None


def around_uptake(scans: Scans, slices: int) -> BoolArray:
    """Return the brain in the ``slices`` neighbouring slices that hold the most uptake."""
    counts = uptake_of(scans).sum(axis=(1, 2))
    slices = min(slices, len(counts))
    first = int(np.convolve(counts, np.ones(slices), mode="valid").argmax())
    chosen = np.zeros_like(scans.brain)
    chosen[first : first + slices] = True
    return scans.brain & chosen


def read_csv(path: Path | None) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the rows that were measured before, by KEY; a line that was cut off is removed.

    Raises RequestError for a table with other columns.
    """
    if path is None or not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    reader = csv.DictReader(io.StringIO(whole))
    if whole and tuple(reader.fieldnames or ()) != COLUMNS:
        raise RequestError(
            f"{path}: its columns are not those that this version writes. Choose another --csv."
        )
    return {tuple(row[name] for name in KEY): row for row in reader}


def append_csv(path: Path | None, row: Mapping[str, str]) -> None:
    """Add one row and close the file: an interruption costs the row that is being measured."""
    if path is None:
        return
    is_new = not path.exists() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def measure_all(
    data: str, items: Sequence[Item], rows: Sequence[Row], slices: int, path: Path | None
) -> tuple[list[dict[str, str]], list[str]]:
    """Measure each row on each case, unless the table at ``path`` has it; return all of these.

    ``slices`` above 0 measures that many around the uptake as well. Returns as well what went
    wrong, a sentence for each such case: the others are measured all the same.
    """
    done = read_csv(path)
    regions = [WHOLE, *([f"{slices} slices around the uptake"] if slices else [])]
    weights = {row.label: row.weights_id for row in rows}
    found: list[dict[str, str]] = []
    failed = []
    for item in items:
        keys = {
            row: [(data, item.name, r, row.label, row.method, weights[row.label]) for r in regions]
            for row in rows
        }
        missing = {row: [key for key in its if key not in done] for row, its in keys.items()}
        try:
            if any(missing.values()):
                scans = item.read()
                for row in (row for row in rows if missing[row]):
                    print(f"{item.name}: {row.label}", file=sys.stderr, flush=True)
                    result = synthesise(row, scans)
                    for key in missing[row]:
                        is_whole = key[KEY.index("region")] == WHOLE
                        brain = scans.brain if is_whole else around_uptake(scans, slices)
                        done[key] = _line(key, item, measure(scans, result, brain))
                        append_csv(path, done[key])
        except RequestError as error:
            failed.append(f"{item.name}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
        found += [done[key] for its in keys.values() for key in its if key in done]
    return found, failed


def _line(key: Sequence[str], item: Item, values: Mapping[str, float | None]) -> dict[str, str]:
    """Return a line of the table; a measure that is undefined leaves its field empty."""
    line = dict(zip(KEY, key, strict=True))
    line |= {"patient": item.patient, "contrastsynth": __version__}
    return line | {name: "" if v is None else f"{v:.7g}" for name, v in values.items()}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--cases", type=Path, metavar="FOLDER")
    data.add_argument("--virtual", choices=tuple(VIRTUAL_KINDS), help="kind, beside training's")
    parser.add_argument("--row", action="append", required=True, metavar="LABEL=METHOD[:WEIGHTS]")
    parser.add_argument("--split", default="test", choices=SPLITS, help="of a prepared folder")
    parser.add_argument("--case", action="append", metavar="NAME", help="only this one")
    parser.add_argument("--patients", type=int, default=20, help="virtual ones")
    parser.add_argument("--seed", type=int, default=1_000_000, help="of the first virtual one")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--slab", type=int, default=24, metavar="SLICES", help="of virtual ones")
    size.add_argument("--whole", action="store_true", help="virtual ones as whole brains")
    parser.add_argument("--spacing", type=float, default=1.0, metavar="MM", help="of virtual ones")
    parser.add_argument("--corrupt", choices=tuple(CORRUPTION), help="virtual pre scans")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keeps virtual patients")
    parser.add_argument("--around-uptake", type=int, default=0, metavar="SLICES", help="as well")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="keeps what was measured")
    parser.add_argument("--table", default="2", choices=tuple(TABLES), help="of the paper")
    return parser.parse_args(arguments)


def chosen_items(chosen: argparse.Namespace) -> tuple[str, list[Item]]:
    """Return the name of the data and its cases. Raises RequestError when none is left."""
    if chosen.cases:
        data, items = chosen.cases.resolve().name, items_in_folder(chosen.cases, chosen.split)
    else:
        data = f"virtual {chosen.virtual}, {chosen.spacing:g} mm"
        items = virtual_items(
            chosen.virtual,
            range(chosen.seed, chosen.seed + chosen.patients),
            slices=None if chosen.whole else chosen.slab,
            corruption=chosen.corrupt,
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


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing and print the table of each region."""
    chosen = parse(arguments)
    try:
        rows = [Row.parse(text) for text in chosen.row]
        labels = [row.label for row in rows]
        if len(set(labels)) < len(labels):
            raise RequestError(f"Two rows have one label: {', '.join(labels)}.")
        data, items = chosen_items(chosen)
        lines, failed = measure_all(data, items, rows, chosen.around_uptake, chosen.csv)
        for region in dict.fromkeys(line["region"] for line in lines):
            print(f"\n{data}, {region}:\n")
            print(markdown([li for li in lines if li["region"] == region], labels, chosen.table))
        print("\n" + NOTE)
        if failed:
            raise RequestError(f"{len(failed)} of {len(items)} cases failed, as told above.")
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
