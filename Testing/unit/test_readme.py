"""README, manual and CONTRIBUTING say what the code does now."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from ContrastSynthLib.commands.parser import build_parser
from ContrastSynthLib.registry import METHODS, describe
from ContrastSynthLib.running.run import run  # noqa: F401 - declares the methods

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
LONGEST_README = 150
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))
}
INVENTED = ("linear_dose", "cnn_pre")
"""The methods of the recipes in CONTRIBUTING."""
PLACES = ("", "ContrastSynthLib", "ContrastSynth")
"""Where the rooms stand that a block of paths names."""


def code_lines(text: str) -> list[str]:
    """Return the lines of all code blocks; those that go on after a backslash in one."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").split("\n")]


def commands(program: str = "") -> list[tuple[str, list[str]]]:
    """Return the commands of all pages, or those of one program, each with its page, as words."""
    found = []
    for page, text in PAGES.items():
        for line in code_lines(text):
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # a line of Python
                continue
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                del words[0]
            if words and program in ("", words[0]):
                found.append((page, words))
    return found


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_table_of_methods_is_that_of_the_declarations():
    table = describe.methods_as_markdown(METHODS.values())
    assert table in README, f"put this into the README (make refresh):\n{table}"


def test_the_readme_is_read_to_its_end():
    assert len(README.splitlines()) <= LONGEST_README


def test_every_example_is_a_command_that_parses():
    examples = commands("contrastsynth")
    assert len(examples) >= 15
    for page, (_, *words) in examples:
        joined = shlex.join(words).replace("--from -", "--from=-").replace("--to -", "--to=-")
        try:
            options = build_parser().parse_args(shlex.split(joined))
        except SystemExit:
            pytest.fail(f"{page}: contrastsynth {joined}")
        if getattr(options, "method", None) not in (None, *INVENTED):
            assert options.method in METHODS, page


def options_of(script: Path) -> set[str]:
    """Return the options that a script, or what it imports from training, declares."""
    found: set[str] = set()
    waiting, seen = [script], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and str(node.value).startswith("--"):
                found.add(str(node.value))
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                for base in (ROOT / "training", ROOT, path.parent):
                    inner = base.joinpath(*name.split("."))
                    files = (inner.with_suffix(".py"), inner / "__init__.py")
                    waiting += [
                        file
                        for file in files
                        if file.is_file() and ROOT / "training" in file.parents
                    ]
    return found


def test_every_script_exists_and_has_the_options_of_its_examples():
    examples = [(page, words[words[0].endswith("python") :]) for page, words in commands()]
    examples = [(p, w) for p, w in examples if w and re.match(r"(training|tools)/.+\.\w", w[0])]
    assert len(examples) >= 10
    for page, (script, *words) in examples:
        if any(name in script for name in INVENTED):
            continue
        assert (ROOT / script).is_file(), f"{page}: {script}"
        if script.endswith(".py"):
            # One with a space is the value of --with-options.
            given = {w for w in words if w.startswith("--") and " " not in w}
            assert given <= options_of(ROOT / script), f"{page}: {script}"


def test_every_make_command_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {(page, words[1]) for page, words in commands("make")}
    assert {name for name in named if name[1] not in targets} == set()


def test_slicers_scripts_exist():
    for _, words in [*commands("Slicer"), *commands("PythonSlicer")]:
        (script,) = [word for word in words if word.endswith(".py")]
        assert (ROOT / "ContrastSynth" / "ContrastSynthBatch" / script).is_file()


@pytest.mark.parametrize("page", ["README.md", "docs/developing.md"])
def test_every_room_that_is_named_exists(page):
    blocks = re.findall(r"^```\n(\w[^\n]*  +\w.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)
    rooms = [
        room
        for block in blocks
        for line in block.splitlines()
        for room in re.split(r" {3,}|(?<=/) +(?=[a-z])", line.strip())[0].split()
    ]
    assert len(rooms) >= 15
    for room in rooms:
        places = [ROOT / place / name for place in PLACES for name in (room, f"{room}.py")]
        places.append(ROOT / "ContrastSynth" / room)
        assert any(place.exists() for place in places), f"{page}: {room}"


def test_every_room_of_the_library_is_in_the_manual():
    rooms = {path.parent.name for path in ROOT.glob("ContrastSynthLib/*/__init__.py")}
    assert {room for room in rooms if f"{room}/ " not in PAGES["docs/developing.md"]} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_leads_somewhere(page):
    for link in links(PAGES[page]):
        if re.match(r"https?://", link):
            continue
        path, _, part = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.is_file(), f"{page}: {link}"
        if part:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), flags=re.MULTILINE)
            assert part in map(anchor, headings), f"{page}: {link}"


def test_every_page_is_in_the_index():
    index = {Path(link).name for link in links(PAGES["docs/README.md"])}
    assert {Path(page).name for page in PAGES if page.startswith("docs/")} <= index | {"README.md"}


def texts_of(path: Path) -> list[str]:
    """Return the texts that a source file holds; what is filled in stands as "..."."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else "..." for p in node.values]
            found.append("".join(map(str, parts)))
    return found


def test_the_messages_that_troubleshooting_quotes_are_those_of_the_code():
    texts = "\n".join(
        [(ROOT / "tools" / "setup-venv").read_text("utf-8")]
        + [
            t
            for name in ("ContrastSynth", "ContrastSynthLib")
            for f in sorted((ROOT / name).rglob("*.py"))
            for t in texts_of(f)
        ]
    )
    prose = re.sub(r"`[^`]*`", "", PAGES["docs/troubleshooting.md"])
    page = re.sub(r"\s+", " ", prose)
    quoted = [
        part.strip(" .,:")
        for quote in re.findall(r'"([^"]+)"', page)
        for part in quote.split("...")
    ]
    words = re.sub(r"[\s\"]+", " ", texts).lower()
    assert len(quoted) > 10
    assert [part for part in quoted if part.lower() not in words] == []
