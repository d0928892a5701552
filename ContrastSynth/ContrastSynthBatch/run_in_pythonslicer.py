"""A table of patients in Slicer's Python, without the application; a scene for each patient.

PythonSlicer run_in_pythonslicer.py METHOD --cases CASES.csv --out DIR [--scene mrb|mrml]
             [what "contrastsynth batch --help" lists]
"""

import sys
from pathlib import Path

# Beside this folder lies the panel and, in a package, the library; in a checkout one further up.
sys.path[:0] = [str(Path(__file__).resolve().parents[level]) for level in (1, 2)]


def main() -> int:
    """Run what the command line asks for, in a scene of our own."""
    import slicer

    from ContrastSynthBatch import scenes

    scene = slicer.vtkMRMLScene()
    if hasattr(slicer, "vtkSlicerSegmentationsModuleLogic"):
        segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
        segmentations.SetMRMLScene(scene)  # registers their node
    slicer.mrmlScene = scene  # where slicer.util looks
    return scenes.run(sys.argv[1:], scene)


if __name__ == "__main__":  # workers import this file again
    sys.exit(main())
