"""Tables of cases as people have them; what is not understood is named with its line."""

import csv
from pathlib import Path

import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import plain_cell, safe_cell
from ContrastSynthLib.running.batch import case_inputs, read_cases
from ContrastSynthLib.running.batch.cells import one_line, without_paths
from ContrastSynthLib.running.batch.names import why_no_folder
from ContrastSynthLib.running.batch.record import FILES_OF_THE_BATCH, Record, read_record

PLAIN = "case,pre,post,dose\na,a pre.nrrd,post.nrrd,0.5\nb,b.nrrd,post.nrrd,\n"
ROWS = [
    {"case": "a", "pre": "a pre.nrrd", "post": "post.nrrd", "dose": "0.5"},
    {"case": "b", "pre": "b.nrrd", "post": "post.nrrd", "dose": ""},
]


def read(tmp_path, content, method="physics_dose"):
    path = tmp_path / "cases.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = []
    return read_cases(path, method, said.append), said


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace("0.5", "0,5"),
        PLAIN.replace(",", "\t").replace("0.5", "0,5"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.replace("\n", ",,,\n"),
        "\n\n" + PLAIN.replace("\n", "\n,,,\n\n") + ",,,\n",
        PLAIN.replace("case", "Case ").replace("dose", " DOSE"),
        PLAIN.replace("case", '"case\n"').replace("0.5", " 0.5 "),
        PLAIN.replace("b.nrrd,post.nrrd,", "b.nrrd,post.nrrd"),
        '"' + PLAIN.strip().replace(",", '","').replace("\n", '"\n"') + '"',
    ],
)
def test_each_way_to_write_a_table_gives_the_same_rows(tmp_path, content):
    assert read(tmp_path, content) == (ROWS, [])


def test_headings_may_be_written_as_words(tmp_path):
    rows, _ = read(tmp_path, "CASE,Pre,POST,Flip Angle-Deg\na,x,y,20")
    assert rows == [{"case": "a", "pre": "x", "post": "y", "flip_angle_deg": "20"}]


def test_other_columns_are_left_out_with_a_word(tmp_path):
    rows, said = read(tmp_path, "case,age,pre,post,notes\na,50,x,y,quiet")
    assert rows == [{"case": "a", "pre": "x", "post": "y"}]
    assert len(said) == 1
    assert "'age', 'notes'" in said[0]


def test_an_old_encoding_is_read_and_said(tmp_path):
    rows, said = read(tmp_path, "case,pre,post\nMüller,x,y".encode("cp1252"))
    assert rows[0]["case"] == "Müller"
    assert "Windows-1252" in said[0]


def test_decimal_commas_are_numbers_only_where_commas_do_not_part_cells(tmp_path):
    rows, _ = read(tmp_path, 'case;pre;post;dose;time\na;x,1.nrrd;y;0,25;"0;30,5"')
    assert (rows[0]["dose"], rows[0]["time"], rows[0]["pre"]) == ("0.25", "0;30.5", "x,1.nrrd")
    rows, _ = read(tmp_path, 'case,pre,post,dose\na,x,y,"0,25"')
    assert rows[0]["dose"] == "0,25"


def test_paths_of_windows(tmp_path):
    (tmp_path / "sub").mkdir()
    row = {"post": 'sub\\post.nrrd;"sub\\two.nrrd"', "pre": "C:\\data\\pre.nrrd"}
    found = case_inputs("physics_dose", row, tmp_path)
    assert [Path(p) for p in found["post"]] == [
        tmp_path / "sub" / "post.nrrd",
        tmp_path / "sub" / "two.nrrd",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,pre,post,doze\na,x,y,1", "Did you mean 'dose'"),
        ("pre,post\nx,y", "a column 'case'"),
        ("case,pre,post", "at least one row"),
        ("", "at least one row"),
        (",,,\n\n", "at least one row"),
        ("case,pre,post\na,x,y\na,x,y", "Line 3: the case 'a' stands there twice .line 2"),
        ("case,pre,post\na,x,y\n\nA,x,y", "Line 4: the case 'A' is the same folder as 'a'"),
        ("case,pre,post\n\u00e9,x,y\ne\u0301,x,y", "same folder"),
        ("case,pre,post\n../a,x,y", "Line 2: '../a' names no folder"),
        ("case,pre,post\n,x,y", "names no folder, it has no name"),
        ("case,pre,post\na,x,y\nb,x,y,0.5", "line 3: '0.5' stands under no heading"),
        ("case,pre,post,\na,x,y,z", "line 2: 'z' stands under no heading"),
        ("case,pre,pre\na,x,y", "line 1: the column 'pre' stands there twice"),
        ('case,pre,post\na,x,y\nb,"x,y\nc,x,y', "line 3: cannot be read as cells"),
        ("case,pre,post,time\na,x,y,soon", "Line 2: the times 'soon'"),
        ("case,pre,post,seed\na,x,y,1\nb,x,y,two", "Line 3: the seed 'two'"),
        ("case,pre,post\na,x,y\nb,x\0,y", "line 3 is no text"),
        ('case,pre,post\n"a\nb",x,y\n"c:",x,y', "Line 2: .*Line 4: "),
    ],
)
def test_what_is_not_understood_is_named(tmp_path, text, message):
    with pytest.raises(RequestError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("content", [b"PK\x03\x04rest", b"\xff\xfe\x00", b"\x00" * 100])
def test_what_is_no_table_is_refused(tmp_path, content):
    with pytest.raises(RequestError, match=r"cannot be read as a table|at least one row"):
        read(tmp_path, content)


def test_a_missing_or_endless_table_is_refused(tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="cannot be read as a table"):
        read_cases(tmp_path / "none.csv", "physics_dose")
    with pytest.raises(RequestError, match="cannot be read as a table"):
        read_cases(tmp_path, "physics_dose")
    monkeypatch.setattr("ContrastSynthLib.running.batch.grid.MOST_BYTES", 1000)
    with pytest.raises(RequestError, match="more than"):
        read(tmp_path, "x" * 2000)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "a/b", "a\\b", "a:b", "a*", 'a"', "a;b", "a.", "a ", "a\tb"),
        *("CON", "con.txt", "aux", "COM1", "Lpt9.x", "NUL", "x" * 300, "é" * 150, "a\u202eb"),
        *("a\0b", "a\nb", "batch.csv", "BATCH.CSV", "batch-log.jsonl", ".batch.lock", ".partial-x"),
    ],
)
def test_names_that_are_no_folder(name):
    assert why_no_folder(name, FILES_OF_THE_BATCH)


@pytest.mark.parametrize(
    "name", ["=1+cmd", "-5", "Müller, Anna", "çelik", "患者 1", "a.b", "console", "x" * 200, "'q'"]
)
def test_names_that_are_folders(name):
    assert why_no_folder(name, FILES_OF_THE_BATCH) is None


@pytest.mark.parametrize(
    "text", ["=1+cmd", "+1", "-5", "@x", "\tx", "'=1", "''+", "＝1", "plain", "'quoted'", ""]
)
def test_no_cell_is_a_formula_and_each_is_read_back(text):
    cell = safe_cell(text)
    assert not cell.startswith(tuple("=+-@\t\r＝＋－＠"))
    assert plain_cell(cell) == text


def test_a_message_is_one_line_without_formulas_inside():
    assert one_line("a\n\tb  c;=1+cmd\x1b[0m") == "a b c;'=1+cmd [0m"
    assert len(one_line("x" * 5000)) < 1100


def test_a_message_holds_no_path():
    known = {
        "/data/Anna Müller/pre.nii.gz": "the file of 'pre'",
        "/data/dicom": "the file of 'post'",
    }
    text = (
        "Input 'pre': /data/Anna Müller/pre.nii.gz: not there. /data/dicom/IM01: bad "
        "(/data/Anna Müller/pre.json). See /home/anna/x.nrrd, C:\\Users\\anna\\x and "
        "\\\\server\\anna. "
        "0.1 mmol/kg and 1/2 (--in mask=FILE) https."
    )
    assert without_paths(text, known) == (
        "Input 'pre': the file of 'pre': not there. the file of 'post': bad "
        "((a path)). See (a path), (a path) and (a path). "
        "0.1 mmol/kg and 1/2 (--in mask=FILE) https."
    )


def test_the_record_has_safe_cells_and_is_read_back(tmp_path):
    record = Record(tmp_path, ["b", "=1+cmd"])
    for case in ("=1+cmd", "b", "=1+cmd"):
        record.note(
            {
                "case": case,
                "method": "m",
                "status": "failed",
                "message": "-1\nline",
                "seed": 3,
                "parameters": {"dose": 0.5},
            }
        )
    with (tmp_path / "batch.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert [row[1] for row in rows] == ["case", "b", "'=1+cmd"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert list(read_record(tmp_path)) == ["b", "=1+cmd"]
    assert read_record(tmp_path)["=1+cmd"]["message"] == "-1 line"
    text = (tmp_path / "batch.csv").read_text(encoding="utf-8")
    (tmp_path / "batch.csv").write_bytes(text.replace(",", ";").encode("utf-16"))  # a spreadsheet
    assert read_record(tmp_path)["b"]["status"] == "failed"
    assert len((tmp_path / "batch-log.jsonl").read_text().splitlines()) == 3
