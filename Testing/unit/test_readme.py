"""The README says what the code does now."""

import re
from pathlib import Path

import pytest

from ContrastSynthLib.cli import build_parser
from ContrastSynthLib.registry import METHODS, describe
from ContrastSynthLib.running.run import run  # noqa: F401 - declares the methods

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_table_of_methods_is_that_of_the_declarations():
    table = describe.methods_as_markdown(METHODS.values())
    assert table in README, f"put this into the README:\n{table}"


def test_every_example_is_a_command_that_parses(capsys):
    examples = re.findall(r"^contrastsynth (.+)$", README, flags=re.MULTILINE)
    assert len(examples) >= 6
    for example in examples:
        words = example.replace("--from -", "--from=-").split()
        build_parser().parse_args(words)


@pytest.mark.parametrize("path", re.findall(r"^(\w[\w./]*?/?)  +\S", README, flags=re.MULTILINE))
def test_every_room_of_the_house_exists(path):
    places = (ROOT, ROOT / "ContrastSynthLib")
    assert any((place / path).exists() for place in places)


def test_every_picture_exists():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file()
