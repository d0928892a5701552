"""docs/reader-study.md, step by step: three real pairs, two readers, by keys alone.

``make tutorial`` does it with whole scans, where there are real ones, and keeps the pictures.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

for package in ("PySide6", "slicer", "torch", "sqlalchemy", "statsmodels", "pingouin"):
    pytest.importorskip(package)

from host import pump
from keys import focused, strike
from scans import show_tab
from slabs_of_scans import slab
from tutorial_pictures import KEPT, see

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.reader_study.blinding import read_key
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

PAIRS = ("brats20_186", "tcga_fg_6692", "open_ms_p07")
MAY_BE_SHOWN = PAIRS[1:]
"""Those whose terms allow a picture."""
FIRST, SLICES = 76, 16
CRITERIA = ("quality", "alignment", "tissue", "diagnostic", "artefacts")


@pytest.fixture
def study(real_scans, tmp_path):
    """A study of the synthetic pre-contrast images of the real pairs, as the manual makes it."""
    cases = json.loads((real_scans / "cases.json").read_text("utf-8"))
    lines = ["case,new,standard,beside"]
    for case in PAIRS:
        files = {role: real_scans / case / cases[case][role] for role in ("pre", "post")}
        scans = {role: read_volume(file) for role, file in files.items()}
        if not KEPT:
            scans = {role: slab(scan, FIRST, SLICES) for role, scan in scans.items()}
        made = run(Request("sphere", {"post": scans["post"]}, preset="fast")).outputs["pre"]
        for name, volume in (*scans.items(), ("sphere", made)):
            write_volume(volume, tmp_path / f"{case}_{name}.nrrd")
        lines.append(f"{case},{case}_sphere.nrrd,{case}_pre.nrrd,{case}_post.nrrd")
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["study", "create", "--cases", str(tmp_path / "cases.csv")]
    words += ["--out", str(tmp_path / "study"), "--title", "Synthetic pre-contrast images"]
    assert main([*words, "--reader", "anna", "--reader", "bernd", "--seed", "7"]) == 0
    return tmp_path / "study"


def test_two_readers_from_the_pairs_to_the_page(host, panel, study, tmp_path, capsys):
    tab = show_tab(panel, "study")
    key = read_key(study / "key.json")
    shown = []

    def look():
        """Keep pictures of the first reading that may be shown."""
        case, _ = key.images[tab._reading.images[0]]
        if case in MAY_BE_SHOWN and not shown:
            shown.append(case)
            see(panel, "study_2_image")
            strike(tab, "B")
            see(panel, "study_3_beside")
            strike(tab, "B")

    by_keys(host, tab, study / "readers", look, lambda: see(panel, "study_1_open"))
    assert shown
    assert "All is read" in tab.message.text
    by_commands(study, "bernd", capsys)
    assert main(["study", "report", str(study), "--out", str(tmp_path / "report")]) == 0
    summary = json.loads((tmp_path / "report" / "summary.json").read_text("utf-8"))
    assert summary["missing"] == 0
    assert {arm["count"] for arm in summary["arms"]} == {6}
    (mark,) = summary["made_by"]
    assert "sphere" in mark
    assert [remark["text"] for remark in summary["remarks"]] == ["sharp", ""]
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert all(case in page for case in PAIRS)


def by_keys(host, tab, readers, look, opened):
    """Open the study and read all of it as a reader without a mouse does."""
    host.record.answer(str(readers))  # of the dialog that asks for a folder
    tab.open_button.setFocus()
    strike(focused(tab), "Space")
    assert tab.reader_combo.count == 2
    strike(focused(tab), "Tab")
    assert focused(tab) is tab.reader_combo
    opened()
    strike(focused(tab), "Tab")
    strike(focused(tab), "Space")
    for number in range(1, 7):
        assert tab.progress_label.text == f"Reading {number} of 6"
        look()
        if number == 1:  # what is written does not score, and the next key does
            strike(tab, "F", "C")
            strike(focused(tab), *"SHARP")
            assert tab.form.values == {}
            assert tab.comment.text == "sharp"
            strike(focused(tab), "Tab")
        strike(focused(tab), *"43434", "Return")
    pump(lambda: tab._reading is None)


def by_commands(study: Path, reader: str, capsys) -> None:
    """Read all of it on the command line."""
    for _reading in range(6):
        capsys.readouterr()
        assert main(["study", "next", str(study), "--reader", reader, "--json"]) == 0
        number = json.loads(capsys.readouterr().out)["number"]
        line = ["study", "score", str(study), "--reader", reader, "--number", str(number)]
        sets = [word for one in CRITERIA for word in ("--set", f"{one}=4")]
        assert main([*line, *sets, "--seconds", "40"]) == 0
