"""Real pairs made ready for training: aligned, masked, normalised, graded, split by patient.

    python training/prepare_data.py cases.csv prepared --align affine --validation 0.15 --test 0.15

The table has the columns ``case`` (a plain name, which becomes a folder), ``patient``, ``pre``
and ``post``, and may have ``mask`` (the brain), ``corrupted`` (the pre scan with artefacts) and
``low`` (after a low dose); files are taken relative to it. For each case

1. post (and corrupted, and low) are registered to the pre scan and resampled to its grid;
2. the brain is the mask that was given, else what is above 0 in skull-stripped scans, else an
   estimate;
3. each scan is divided by its mean in the brain (SPHERE: "mean-normalised"), and the post scan
   by the radiometric gain that is left between the two as well: enhancement lifts the mean of
   the post scan, so that tissue without agent would end up too dark;
4. the pre scan is brought into the contrast and the shading of the post scan, as ``target``, and
   the pair is graded: A, the same sequence, clean; B, two sequences or strong shading; C, not to
   be learnt from with a loss between images.

That leaves ``OUT/<case>/{pre,post,mask,target[,corrupted,low]}.nrrd`` and ``OUT/cases.json``,
which holds for each case the split, the grade with the median difference of post and target in
means of the brain, all factors (what is stored = scan / mean / gain), what the alignment did and
hashes; never a path or the name of a patient: patients are numbered.

A patient goes to train, validation or test by a hash of the name and the seed: adding patients
moves nobody. The same images under two names of patients would leak from one split into the
other, so they are an error. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data.preparation import Division, prepare
from data.prepared_cases import SPLITS

from ContrastSynthLib.errors import ContrastSynthError


def main(arguments: list[str] | None = None) -> int:
    """Prepare the folder and count what is in each split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", type=Path, metavar="CASES.csv")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--align", default="affine", choices=("affine", "rigid", "none"))
    parser.add_argument("--validation", type=float, default=0.15, metavar="SHARE")
    parser.add_argument("--test", type=float, default=0.15, metavar="SHARE")
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    chosen = parser.parse_args(arguments)
    try:
        division = Division(chosen.seed, chosen.validation, chosen.test)
        listed = prepare(chosen.cases, chosen.out, chosen.align, division)
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for split in SPLITS:
        cases = [case for case in listed.values() if case["split"] == split]
        print(f"{split}: {len(cases)} cases of {len({case['patient'] for case in cases})} patients")
    return 0


if __name__ == "__main__":
    sys.exit(main())
