"""SPHERE, its direct baselines and its ablations at equal budgets: Tables 2, 3 and 5 of the paper.

    python training/make_slabs.py pool --patients 400
    python training/make_slabs.py validation --patients 20 --first-seed 900000
    python training/train_features.py --data pool --out runs/features --minutes 6
    python training/compare.py pool --validation validation --features runs/features/bundle \\
        --out runs/compare --steps 300 1200 4800

All networks see the same slices and have as many parameters as SPHERE, or as SPHERE and
SPHERE-Art together. Each is trained with every one of ``--rates`` for the first of ``--steps``; the
learning rate with the highest score on the validation slabs is then used at the other budgets,
each of which is a training of its own, since the rate falls to nearly 0 at its end. A network has
converged where more steps bring nothing: ``OUT/curves.csv`` and ``curves.png`` have the score
against the steps, ``rates.md`` what the search found and the seconds a step. In the end patients of
neither folder are measured against what was asked for (``evaluate.py``), with the networks of the
largest budget. Stop it and start it again: what is trained or measured stays.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from loop.judging import figures_of, reached

from ContrastSynthLib.phantom.brain.parameters import CORRUPTION

RATES = (2e-4, 6e-4, 2e-3, 6e-3)
POINTS = 6
"""Of each curve."""
WEIGHTS = "--weigh l1=20 --weigh ssim=2 --weigh adversarial=0.02 --weigh bce=2"
"""Of the losses of SPHERE and its baselines: our choice, as for the weights that are shipped."""
BICEPS = "--weigh reverse=20 --weigh anatomy=10"
ART = "train_sphere_art.py"
TAUS = (0.06, 0.08, 0.12, 0.14)
"""Thresholds of the uptake beside that of SPHERE, 0.1."""


@dataclass(frozen=True)
class Run:
    """A row: of which tables, the options of its training and the script that trains it."""

    tables: tuple[int, ...]
    options: str = ""
    script: str = "train_sphere.py"

    @property
    def method(self) -> str:
        """The method that runs its weights."""
        return "sphere_art" if self.script == ART else "sphere"


RUNS = {
    "sphere": Run((2, 3, 5)),
    "unet": Run((2,), "--network unet"),
    "attention_unet": Run((2,), "--network attention_unet"),
    "unet_plus_plus": Run((2, 5), "--network unet_plus_plus"),
    "swinir": Run((2,), "--network swinir"),
    "ukan": Run((2,), "--network ukan"),
    "mambair": Run((2,), "--network mambair"),
    "biceps": Run((2,), f"--network biceps {BICEPS}"),
    "joint": Run((5,), "--schedule joint"),
    "masked_loss": Run((5,), "--masked-loss"),
    "no_hyperintensity": Run((5,), "--without hyperintensity"),
    "no_segmentation": Run((5,), "--without segmentation"),
    "no_autoencoder": Run((5,), "--without autoencoder"),
    "fixed_threshold": Run((5,), "--without learnt_threshold"),
    **{f"tau_{tau:.2f}".replace(".", "_"): Run((5,), f"--tau {tau}") for tau in TAUS},
    "sphere_art": Run((3,), "", ART),
    "art_unet": Run((3,), "--network unet", ART),
    "art_r2_attention_unet": Run((3,), "--network r2_attention_unet", ART),
    "art_unet_plus_plus": Run((3,), "--network unet_plus_plus", ART),
}
"""By name. SPHERE without its dual stage is unet_plus_plus."""
BOUNDS = {
    2: ("physics_pre=physics_pre", "clamp=clamp", "nothing=nothing", "reachable=reachable"),
    3: ("corrupted=corrupted", "nothing=nothing"),
    5: (),
}
"""Rows of each table that are not trained."""


@dataclass(frozen=True)
class Comparison:
    """What is compared: the folders, the budgets in steps and the learning rates to try."""

    arguments: argparse.Namespace

    def folder(self, name: str, steps: int, rate: float) -> Path:
        """Return the folder of one training."""
        return Path(self.arguments.out / name / f"{steps}_{rate:g}")

    def train(self, name: str, steps: int, rate: float) -> None:
        """Train a run, from where it was left, unless it is done."""
        out = self.folder(name, steps, rate)
        if reached(out) >= steps:
            return
        given, run = self.arguments, RUNS[name]
        words = [sys.executable, str(Path(__file__).with_name(run.script)), "--data", given.pool]
        words += ["--steps", str(steps), "--keep-every", str(max(steps // POINTS, 1))]
        words += ["--learning-rate", f"{rate:g}", "--threads", str(given.threads)]
        words += ["--precision", given.precision, "--validation", str(given.validation)]
        words += ["--name", name, *run.options.split()]
        if run.script == ART:
            words += ["--batch", "6", "--sphere", str(self.bundle("sphere", steps))]
        else:
            words += ["--features", str(given.features), *WEIGHTS.split()]
        print(f"{name}, {steps} steps, rate {rate:g}", flush=True)
        subprocess.run([*words, *shlex.split(given.with_options), "--out", str(out)], check=True)

    def scores(self, name: str) -> dict[float, float]:
        """Return the last score of each learning rate at the first budget, where it is done."""
        first = self.arguments.steps[0]
        folders = {rate: self.folder(name, first, rate) for rate in self.arguments.rates}
        return {
            rate: figures_of(folder)[-1]["score"]
            for rate, folder in folders.items()
            if reached(folder) >= first
        }

    def rate(self, name: str) -> float:
        """Return the learning rate with the highest score."""
        found = self.scores(name)
        return max(found, key=lambda rate: found[rate])

    def bundle(self, name: str, steps: int) -> Path:
        """Return the trained weights of a budget."""
        return self.folder(name, steps, self.rate(name)) / "bundle"

    def run(self, name: str) -> None:
        """Search the learning rate of a row, then train it at the other budgets."""
        first, *others = self.arguments.steps
        for rate in self.arguments.rates:
            self.train(name, first, rate)
        for steps in others:
            self.train(name, steps, self.rate(name))

    def curves(self, names: list[str]) -> list[dict[str, float | str]]:
        """Return the score at each measured step of each budget, with the chosen rate."""
        return [
            {"network": name, "budget": steps, "step": int(at["step"]), "score": at["score"]}
            for name in names
            for steps in self.arguments.steps
            for at in figures_of(self.folder(name, steps, self.rate(name)))
        ]

    def searched(self, names: list[str]) -> str:
        """Return what the search of the learning rates found, as Markdown."""
        rates = self.arguments.rates
        text = [f"| | {' | '.join(f'{rate:g}' for rate in rates)} | chosen | CPU s a step |"]
        text.append("|---" * (len(rates) + 3) + "|")
        for name in names:
            scores, rate = self.scores(name), self.rate(name)
            cells = [f"{scores[each]:.3f}" if each in scores else "–" for each in rates]
            seconds = seconds_a_step(self.folder(name, self.arguments.steps[-1], rate))
            text.append(f"| {name} | {' | '.join(cells)} | {rate:g} | {seconds:.2f} |")
        return "\n".join(text)

    def measure(self, kind: str, table: int, names: list[str], artefact: str = "") -> None:
        """Print one table of one kind of patients, of Table 3 with one kind of ``artefact``."""
        given, steps = self.arguments, self.arguments.steps[-1]
        words = [sys.executable, str(Path(__file__).with_name("evaluate.py")), "--virtual", kind]
        words += ["--patients", str(given.patients), "--cache", str(given.out / "virtual")]
        words += ["--csv", str(given.out / "comparison.csv"), "--table", f"sphere_{table}"]
        words += ["--corrupt", artefact] if artefact else []
        rows = [self.row(name, steps) for name in names if table in RUNS[name].tables]
        for row in (*rows, *BOUNDS[table]):
            words += ["--row", row]
        if rows:
            subprocess.run(words, check=True)

    def row(self, name: str, steps: int) -> str:
        """Return a row of evaluate.py; SPHERE-Art runs with the SPHERE that it learnt with."""
        weights = str(self.bundle(name, steps))
        if name == "sphere_art":
            weights = f"sphere={self.bundle('sphere', steps)}+sphere_art={weights}"
        return f"{name}={RUNS[name].method}:{weights}"


def main() -> None:
    """Train what is missing, write the curves, and print the tables."""
    comparison = Comparison(read_arguments())
    given = comparison.arguments
    names = [name for name in RUNS if not given.only or name in given.only]
    for name in names:
        comparison.run(name)
    curves = comparison.curves(names)
    with open(given.out / "curves.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["network", "budget", "step", "score"])
        writer.writeheader()
        writer.writerows(curves)
    draw(curves, given.out / "curves.png")
    (given.out / "rates.md").write_text(f"{comparison.searched(names)}\n", encoding="utf-8")
    print(comparison.searched(names), flush=True)
    for kind in ("same", "different") if given.patients else ():
        comparison.measure(kind, 2, names)
        comparison.measure(kind, 5, names)
        for artefact in CORRUPTION:
            comparison.measure(kind, 3, names, artefact)


def seconds_a_step(folder: Path) -> float:
    """Return the CPU seconds of a step, those of the validation included."""
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    return float(state["seconds"]) / int(state["step"])


def draw(curves: list[dict[str, float | str]], path: Path) -> None:
    """Draw the scores against the steps: a line for each training, a dot at its end."""
    from matplotlib.figure import Figure

    tasks = {
        "post to pre: share of reachable - error left": by_network(curves, art=False),
        "artefacts: 1 - error left": by_network(curves, art=True),
    }
    tasks = {title: networks for title, networks in tasks.items() if networks}
    figure = Figure(figsize=(8 * len(tasks), 6), layout="constrained")
    budgets = sorted({int(point["budget"]) for point in curves})
    for axes, (title, networks) in zip(
        figure.subplots(1, len(tasks), squeeze=False)[0], tasks.items(), strict=True
    ):
        for number, (name, lines) in enumerate(networks.items()):
            style = "-" if number < 10 else "--"
            for line in lines.values():
                axes.plot(*zip(*line, strict=True), style, color=f"C{number % 10}", linewidth=1)
            ends = zip(*(line[-1] for line in lines.values()), strict=True)
            axes.plot(*ends, "o", color=f"C{number % 10}", label=name.replace("_", " "))
        axes.set(xlabel="steps", ylabel="score on slices held out", title=title, xscale="log")
        axes.set_xticks(budgets, [str(budget) for budget in budgets])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def by_network(
    curves: list[dict[str, float | str]], *, art: bool
) -> Mapping[str, Mapping[int, list[tuple[float, float]]]]:
    """Return (step, score) of each budget of each network, of one of the two tasks."""
    found: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for point in curves:
        name = str(point["network"])
        if (RUNS[name].script == ART) == art:
            lines = found.setdefault(name, {}).setdefault(int(point["budget"]), [])
            lines.append((float(point["step"]), float(point["score"])))
    return found


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("pool", metavar="POOL", help="slabs of make_slabs.py to learn from")
    add("--validation", type=Path, required=True, help="slabs of other patients")
    add("--features", type=Path, required=True, help="bundle of train_features.py")
    add("--out", type=Path, required=True, help="folder of the comparison; goes on if it holds one")
    add("--steps", type=int, nargs="+", default=[300, 1200], help="budgets, the smallest first")
    add("--rates", type=float, nargs="+", default=list(RATES), help="learning rates to try")
    add("--only", nargs="+", choices=tuple(RUNS), metavar="NAME", help="only these rows")
    add("--patients", type=int, default=10, help="to measure on; 0: no tables")
    add("--threads", type=int, default=1)
    add("--precision", default="bf16-mixed")
    add("--with-options", default="", metavar="TEXT", help='of every training, as "--crop 64"')
    arguments = parser.parse_args()
    if arguments.steps != sorted(set(arguments.steps)) or arguments.steps[0] < 1:
        parser.error("--steps are budgets in rising order, such as 300 1200 4800")
    needed = [n for n in arguments.only or () if RUNS[n].script == ART]
    if needed and "sphere" not in arguments.only:
        parser.error(f"{', '.join(needed)} are trained with a SPHERE: add sphere to --only")
    return arguments


if __name__ == "__main__":
    main()
