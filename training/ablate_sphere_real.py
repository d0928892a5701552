"""What each part of the recipe of train_sphere_real.py is worth: one training without each of them.

    python training/ablate_sphere_real.py --data PAIRS --maps maps --out runs/ablations \\
        --pairs runs/pairs --threads 1 --precision bf16-mixed --same-patient CASE,CASE

Every run has the same number of steps, a smaller network than the one that is shipped, and the
recipe of its fine-tuning; RUNS says what is different. Each is a folder of ``--out`` and is not
repeated where it is done: stop it and start it again, with ``--only`` in several processes. The
table at the end is of the patients held out, in axial slices. Its bundles can be rows of
evaluate.py, such as ``--row real=sphere:runs/ablations/real/bundle@fast``. Options that are not of
this script go on to train_sphere_real.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from loop.judging import figures_of, reached

RECIPE = "--features 24 48 96 192 192 --in-uptake 4 --share no_agent=0.1 --share only_agent=0.5"
RUNS = {
    "both": "",
    "both, another seed": "--seed 1",
    "virtual patients alone": "--real-share 0 --without pasted",
    "virtual patients alone, as before mottled tissue": "--real-share 0 --without pasted mottled "
    "point_spread",
    "real pairs alone": "--real-share 1 --without virtual_agent",
    "half of the patients": "--learn-from 13",
    "a quarter of the patients": "--learn-from 6",
    "without examples without agent": "--without no_agent",
    "only the agent is learnt of real pairs": "--share only_agent=1",
    "without virtual agent on real scans": "--without virtual_agent",
    "without lesions of other patients": "--without pasted",
    "without coronal and sagittal slices": "--without other_views",
    "the rise multiplied by M": "--masked",
    "with R_psyn": "--with-physics",
    "without the prior H": "--without hyperintensity",
    "without switched agent, own contrast, uneven lesions": "--without switched own_contrast "
    "uneven",
    "without changed contrast and coil edges": "--without changed",
    "without mottled tissue and point spread": "--without mottled point_spread",
}
"""Name of a row to the options that it adds."""
FORWARDED = ("--data", "--maps", "--pairs", "--precision", "--threads", "--same-patient")
"""Options of every run; any other that is not of this script goes on to it too."""
MEASURES = {"share": "share ↑", "left": "left ↓", "out": "outside ↓", "lost": "lost ↓"}


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--steps", type=int, default=800, help="of each run")
    parser.add_argument("--only", action="append", choices=RUNS, help="only this run")
    for option in FORWARDED:
        parser.add_argument(option, action="append", help="as of train_sphere_real.py")
    arguments, others = parser.parse_known_args()
    for option in FORWARDED:
        values = getattr(arguments, option[2:].replace("-", "_")) or ()
        others += [word for value in values for word in (option, value)]
    for name in arguments.only or RUNS:
        if reached(arguments.out / folder_of(name)) < arguments.steps:
            run(name, arguments, others)
    print(table(arguments.out))


def run(name: str, arguments: argparse.Namespace, others: list[str]) -> None:
    """Train one row, from where it was left."""
    script = Path(__file__).with_name("train_sphere_real.py")
    own = f"--steps {arguments.steps} --keep-every {arguments.steps} {RECIPE} {RUNS[name]}".split()
    out = arguments.out / folder_of(name)
    print(f"{name}: {' '.join(own)}", flush=True)
    subprocess.run([sys.executable, str(script), *others, *own, "--out", str(out)], check=True)


def folder_of(name: str) -> str:
    """Return the name of the folder of a row."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def table(out: Path) -> str:
    """Return the runs that are done, as Markdown."""
    text = [f"| | {' | '.join(MEASURES.values())} |", "|---" * (len(MEASURES) + 1) + "|"]
    for name in RUNS:
        if found := figures_of(out / folder_of(name)):
            cells = " | ".join(f"{found[-1][measure]:.3f}" for measure in MEASURES)
            text.append(f"| {name} | {cells} |")
    return "\n".join(text)


if __name__ == "__main__":
    main()
