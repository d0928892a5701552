"""Draw which part of the library imports which, and count: rooms, arrows, circles.

    python tools/draw_rooms.py --out docs/pictures/rooms-after.png
    python tools/draw_rooms.py --library OLD/ContrastSynthLib --out docs/pictures/rooms-before.png

A room is a folder or a module directly below the library. Rooms stand in layers, each above all
that it imports. An import inside a function is drawn dashed, one for type checkers alone (under
TYPE_CHECKING) dotted; an arrow that points upwards, which closes a circle, is red. Pale arrows
lead where darker ones lead too, over another room. Without ``--out`` only the counts are printed.
"""

from __future__ import annotations

import argparse
import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "ContrastSynthLib"
LOADED, LATER, TYPES = KINDS = ("when loaded", "inside functions", "for types alone")
LINES = {LOADED: "-", LATER: (0, (5, 3)), TYPES: (0, (1, 2))}
WIDEST_LAYER = 7
"""Rooms side by side before a layer continues in a second row."""
SWEEPS = 12

Arrow = tuple[str, str]


@dataclass(frozen=True)
class Import:
    """One import statement: from a module to a module, dotted names below the library."""

    source: str
    target: str
    kind: str
    place: str


def modules_of(library: Path) -> dict[str, Path]:
    """Return the modules of a library by dotted name; a folder's name is its ``__init__``."""
    found = {}
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(library: Path) -> list[Import]:
    """Return every import of one module of the library by another."""
    modules = modules_of(library)
    found = []
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node, kind in _statements(ast.parse(path.read_text(encoding="utf-8")), LOADED):
            place = f"{path.relative_to(library.parent).as_posix()}:{node.lineno}"
            targets = dict.fromkeys(_targets(node, library.name, package, modules))
            found += [Import(name, to, kind, place) for to in targets if to != name]
    return found


def _statements(tree: ast.AST, kind: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, kind
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(node, LATER)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _statements(node, TYPES)
        else:
            yield from _statements(node, kind)


def _targets(
    node: ast.Import | ast.ImportFrom, library: str, package: str, modules: Mapping[str, Path]
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        yield from (_below(name, library) for name in names if name.split(".")[0] == library)
        return
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([library, *filter(None, above), *([base] if base else [])])
    if base.split(".")[0] != library:
        return
    for alias in node.names:
        inner = _below(f"{base}.{alias.name}", library)
        yield inner if inner in modules else _below(base, library)


def _below(name: str, library: str) -> str:
    return name.removeprefix(library).removeprefix(".")


def room_of(module: str) -> str:
    """Return the room in which a module is: its first name."""
    return module.split(".")[0] or "__init__"


def arrows(imports: Iterable[Import], of_rooms: bool) -> dict[Arrow, str]:
    """Return the arrows between rooms, or modules, each with the first of KINDS that it has."""
    found: dict[Arrow, str] = {}
    for one in imports:
        ends = (one.source, one.target)
        arrow = (room_of(ends[0]), room_of(ends[1])) if of_rooms else ends
        if arrow[0] != arrow[1]:
            found[arrow] = min(found.get(arrow, TYPES), one.kind, key=KINDS.index)
    return found


def circles(found: Iterable[Arrow]) -> list[list[str]]:
    """Return the groups whose members all reach each other, sorted; those of one are left out."""
    reach = _reach(found)
    groups = {
        tuple(sorted(there for there in reach[here] if here in reach.get(there, ())))
        for here in reach
        if here in reach[here]
    }
    return [list(group) for group in sorted(groups)]


def _reach(found: Iterable[Arrow]) -> dict[str, set[str]]:
    following = defaultdict(set)
    for source, target in found:
        following[source].add(target)
    reach = {}
    for start in following:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for there in following.get(waiting.pop(), ()):
                if there not in seen:
                    seen.add(there)
                    waiting.append(there)
        reach[start] = seen
    return reach


def upward(found: Mapping[Arrow, str], imports: list[Import]) -> set[Arrow]:
    """Return the arrows to turn for no circle to be left, those of the fewest imports."""
    weight: dict[Arrow, int] = defaultdict(int)
    for one in imports:
        weight[room_of(one.source), room_of(one.target)] += 1
    left, turned = set(found), set()
    while groups := circles(left):
        inside = [a for a in left if any(a[0] in group and a[1] in group for group in groups)]
        worst = min(
            sorted(inside), key=lambda arrow: (KINDS[::-1].index(found[arrow]), weight[arrow])
        )
        left.remove(worst)
        turned.add(worst)
    return turned


def layers(rooms: Iterable[str], downward: Iterable[Arrow]) -> list[list[str]]:
    """Return the rooms in layers, the lowest first: each lies above all that it imports."""
    following = defaultdict(set)
    for source, target in downward:
        following[source].add(target)
    height: dict[str, int] = {}

    def climb(room: str) -> int:
        if room not in height:
            height[room] = 1 + max((climb(below) for below in following[room]), default=-1)
        return height[room]

    found = defaultdict(list)
    for room in sorted(rooms):
        found[climb(room)].append(room)
    return [found[level] for level in sorted(found)]


def draw(library: Path, out: Path) -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch

    imports = imports_of(library)
    sizes: dict[str, int] = defaultdict(int)
    for module in modules_of(library):
        sizes[room_of(module)] += 1
    found = arrows(imports, of_rooms=True)
    turned = upward(found, imports)
    down = {arrow: kind for arrow, kind in found.items() if arrow not in turned}
    short = _without_detours(down)
    places = _places(layers(sizes, down), short)
    top = max(y for _, y in places.values())

    figure, axes = plt.subplots(figsize=(15, 1.3 + 1.05 * (1 + top)))
    for arrow, kind in sorted(found.items()):
        (x, y), (to_x, to_y) = places[arrow[0]], places[arrow[1]]
        side = 0.24 if to_y > y else -0.24
        dark = arrow in short
        bend = 0.0 if abs(y - to_y) <= 1 else 0.10 if to_x >= x else -0.10
        bend = 0.35 if arrow in turned else bend
        axes.add_patch(
            FancyArrowPatch(
                (x, y + side),
                (to_x, to_y - side),
                connectionstyle=f"arc3,rad={bend}",
                arrowstyle="-|>",
                mutation_scale=13 if dark else 8,
                linewidth=1.6 if dark else 0.9,
                linestyle=LINES[kind],
                color="#c62828" if arrow in turned else "#33475b" if dark else "#cdd5de",
                zorder=3 if arrow in turned else 2 if dark else 1,
            )
        )
    for room, (x, y) in places.items():
        folder = (library / room).is_dir()
        axes.text(
            x,
            y,
            f"{room}/  {sizes[room]}" if folder else room,
            ha="center",
            va="center",
            fontsize=13,
            weight="bold" if folder else "normal",
            zorder=4,
            bbox={
                "boxstyle": "round,pad=0.45",
                "facecolor": "#dcebfa" if folder else "#f5f1e6",
                "edgecolor": "#33475b",
            },
        )
    counted = counts(library)
    axes.set_title(
        f"{counted['modules']} modules in {counted['rooms']} rooms, "
        f"{counted['arrows between rooms']} arrows between rooms (an arrow: imports). "
        "Blue: a folder with its number of modules.\n"
        "Pale: also reached over other rooms. Dashed: inside functions. Dotted: for types. "
        "Red: closes a circle.",
        fontsize=13,
    )
    axes.set_xlim(-0.6, WIDEST_LAYER - 0.4)
    axes.set_ylim(-0.5, top + 0.5)
    axes.axis("off")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Without a date or version in it, the same library gives the same file.
    figure.savefig(out, dpi=80, bbox_inches="tight", facecolor="white", metadata={"Software": None})


def _without_detours(down: Mapping[Arrow, str]) -> set[Arrow]:
    """Return the arrows whose ends no path over another room joins."""
    reach = _reach(down)
    return {
        (source, target)
        for source, target in down
        if not any(
            target in reach.get(middle, ())
            for start, middle in down
            if start == source and middle != target
        )
    }


def _places(stacked: list[list[str]], short: set[Arrow]) -> dict[str, tuple[float, float]]:
    """Return x and y of each room: those that arrows join stand near to each other."""
    rows = []
    for layer in stacked:
        pieces = -(-len(layer) // WIDEST_LAYER)
        size = -(-len(layer) // pieces)
        rows += [layer[first : first + size] for first in range(0, len(layer), size)]
    joined = defaultdict(set)
    for source, target in short:
        joined[source].add(target)
        joined[target].add(source)
    middle = (WIDEST_LAYER - 1) / 2
    x = {room: float(index) for row in rows for index, room in enumerate(row)}
    for _ in range(SWEEPS):
        for row in [*rows, *reversed(rows)]:
            wish = {
                room: sum(x[other] for other in joined[room]) / max(len(joined[room]), 1)
                for room in row
            }
            ordered = sorted(row, key=lambda room: (wish[room], room))
            step = (WIDEST_LAYER - 1) / max(len(row) - 1, 2)
            centre = sum(wish.values()) / len(row)
            half = step * (len(row) - 1) / 2
            centre = min(max(centre, half), 2 * middle - half)
            x |= {room: centre - half + step * index for index, room in enumerate(ordered)}
    # Rows one above the other are shifted, so that arrows pass beside the rooms.
    return {
        room: (x[room] + (0.2 if height % 2 else -0.2), height)
        for height, row in enumerate(rows)
        for room in row
    }


def counts(library: Path) -> dict[str, int]:
    """Return how many modules, rooms, arrows and circles a library has."""
    imports = imports_of(library)
    modules = modules_of(library)
    between = {of_rooms: arrows(imports, of_rooms) for of_rooms in (True, False)}
    counted = {"modules": len(modules), "rooms": len({room_of(name) for name in modules})}
    counted["modules outside folders"] = sum("." not in name for name in modules) - sum(
        path.name == "__init__.py" and path.parent.parent == library for path in modules.values()
    )
    for of_rooms, what in ((True, "rooms"), (False, "modules")):
        kinds = list(between[of_rooms].values())
        counted[f"arrows between {what}"] = len(kinds)
        for kind in KINDS[1:]:
            counted[f"arrows between {what} only {kind}"] = kinds.count(kind)
        running = [arrow for arrow, kind in between[of_rooms].items() if kind != TYPES]
        loaded = [arrow for arrow, kind in between[of_rooms].items() if kind == LOADED]
        counted[f"circles of {what} when loaded"] = len(circles(loaded))
        counted[f"circles of {what} with imports inside functions"] = len(circles(running))
        counted[f"circles of {what} with types too"] = len(circles(between[of_rooms]))
    return counted


def circle_lines(library: Path) -> Iterator[str]:
    """Yield each circle of rooms and of modules, with the imports that make it."""
    imports = imports_of(library)
    for of_rooms, what in ((True, "rooms"), (False, "modules")):
        for group in circles(arrows(imports, of_rooms)):
            yield f"circle of {what}: {', '.join(group)}"
            for one in imports:
                ends = [room_of(e) if of_rooms else e for e in (one.source, one.target)]
                if ends[0] != ends[1] and set(ends) <= set(group):
                    yield f"  {one.place} imports {one.target or '__init__'} ({one.kind})"


def main() -> None:
    """Print the counts and the circles; draw where a picture is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", type=Path, default=LIBRARY, help="another tree to read")
    parser.add_argument("--out", type=Path, help="the picture, a PNG")
    options = parser.parse_args()
    for name, count in counts(options.library).items():
        print(f"{count:5d}  {name}")
    for line in circle_lines(options.library):
        print(line)
    if options.out:
        draw(options.library, options.out)


if __name__ == "__main__":
    main()
