"""What both batch scripts do: the batch of the command line, then a scene for each case.

Nothing here needs the application: a scene, its nodes and their files are enough.
"""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

import slicer
import slicer.util
from ContrastSynthPanel.scene import bridge, run_results

from ContrastSynthLib import cli
from ContrastSynthLib.commands.parser import build_parser
from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.images import read_mask
from ContrastSynthLib.files.series import holds_series, read_one, read_series
from ContrastSynthLib.registry import MASK_ROLE, find_method
from ContrastSynthLib.running.batch import CASE, RECORD, case_inputs, read_cases, read_record

SUFFIXES = ("mrb", "mrml")


def run(arguments: list[str], scene, most_workers: int | None = None) -> int:
    """Run ``contrastsynth batch`` with these arguments, save the scenes, return the exit code.

    ``--scene mrb`` (one file a case, the default) or ``mrml`` (a folder) is taken besides.
    ``scene`` is emptied for each case.
    """
    arguments = arguments[1:] if arguments[:1] == ["--"] else arguments
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--scene", choices=SUFFIXES, default=SUFFIXES[0])
    try:
        own, others = parser.parse_known_args(arguments)
        batch = ["batch", *others]
        options = build_parser().parse_args(batch)
    except SystemExit as stop:  # said already; an application does not end by it
        return int(stop.code or 0)
    if most_workers and options.workers > most_workers:
        print("Slicer runs one case at a time; run_in_pythonslicer.py more.", file=sys.stderr)
        return 2
    code = cli.main(batch)
    try:
        if (options.out / RECORD).is_file():
            save_scenes(options, scene, own.scene)
    except ContrastSynthError as error:
        print(f"contrastsynth: {error}", file=sys.stderr)
        return error.exit_code
    return code


def save_scenes(options: argparse.Namespace, scene, suffix: str) -> None:
    """Save a scene for each case of the table that is done; ``--resume`` keeps those there are."""
    record = read_record(options.out)
    for row in read_cases(options.cases, options.method):
        case = row[CASE]
        path = scene_path(options.out.resolve() / case, case, suffix)
        done = case in record and record[case]["status"] == "done"
        if done and not (options.resume and path.exists()):
            inputs = case_inputs(options.method, row, options.cases.parent)
            fill(scene, case, options.method, inputs, options.out / case)
            save(scene, path)
            print(f"{case}: {path}", file=sys.stderr)


def scene_path(folder: Path, case: str, suffix: str) -> Path:
    """Return where the scene of a case goes: beside its results, or into a folder of its own."""
    return folder / f"{case}.mrb" if suffix == "mrb" else folder / "scene" / f"{case}.mrml"


def fill(scene, case: str, method_key: str, inputs: dict, results: Path) -> None:
    """Put the inputs and results of one case into the scene, which holds nothing else then."""
    scene.Clear(0)
    method, nodes = find_method(method_key), {}
    for role, paths in inputs.items():
        added = [_add_input(scene, f"{case} {role}", role, path) for path in paths]
        nodes[role] = added[0]
    reference = bridge.volume_of_sequence(nodes[method.reference])
    added = run_results.add_result(scene, results, reference, nodes)
    # PythonSlicer may come without the Segmentations module; the map itself is there then.
    if hasattr(slicer, "vtkSlicerSegmentationsModuleLogic"):
        run_results.add_uptake_mask(added, reference)
    over = bridge.volume_of_sequence(next(iter(added.values())))
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode", scene):
        composite.SetBackgroundVolumeID(reference.GetID())
        composite.SetForegroundVolumeID(over.GetID())


def _add_input(scene, name: str, role: str, path: Path):
    """Add an input of a case: a sequence where its file holds a series, else a volume."""
    if holds_series(path):
        return bridge.sequence_from_series(scene, read_series(path), name)
    node = scene.AddNewNodeByClass(bridge.VOLUME, scene.GenerateUniqueName(name))
    volume = (read_mask if role == MASK_ROLE else read_one)(path)
    bridge.fill_node(node, volume, volume.grid.index_to_ras, None)
    node.CreateDefaultDisplayNodes()
    return node


def save(scene, path: Path) -> None:
    """Save a scene with all its data at a full path. RequestError where that fails."""
    done = False
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        done = scene.WriteToMRB(str(path)) if path.suffix == ".mrb" else _write_all(scene, path)
    if not done:
        raise RequestError(f"{path}: the scene could not be saved. Is the disk full?")


def _write_all(scene, path: Path) -> bool:
    """Write what the nodes hold, then the scene that names the files."""
    scene.SetURL(str(path))
    scene.SetRootDirectory(str(path.parent))
    nodes = slicer.util.getNodesByClass("vtkMRMLStorableNode", scene)
    own = [node for node in nodes if node.GetSaveWithScene() and not node.IsA("vtkMRMLColorNode")]
    return all([_write(node, path.parent) for node in own]) and bool(scene.Commit(str(path)))


def _write(node, folder: Path) -> bool:
    """Write a node's data into a file that is named by its ID: names may hold any sign."""
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    if storage is None:  # has no data of its own
        return True
    suffix = storage.GetDefaultWriteFileExtension()
    storage.SetFileName(str(folder / f"{node.GetID()}.{suffix}"))
    return bool(storage.WriteData(node))
