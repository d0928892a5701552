"""The relationship of two losses: limit cases of the three numbers, and tables that are wrong."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError

SCRIPT = Path(__file__).resolve().parents[2] / "training" / "loss_curves.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("training_loss_curves", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


STEP = np.array([0.0, 1.0, 2.0, 4.0])
FALLING = np.array([4.0, 3.0, 2.0, 0.0])


def test_the_index_of_a_curve_with_itself_and_with_its_opposite(script):
    assert script.gradient_similarity(STEP, FALLING, FALLING + 7) == pytest.approx(1)
    assert script.gradient_similarity(STEP, FALLING, 5 - FALLING) == pytest.approx(-1)


def test_the_index_of_slopes_that_are_known(script):
    # Slopes -1 and -3 everywhere: 2 * 3 / (1 + 9); the uneven steps do not matter.
    assert script.gradient_similarity(STEP, FALLING, 20 - 3 * STEP) == pytest.approx(0.6)
    # Slopes -1 and 0.
    assert script.gradient_similarity(STEP, FALLING, np.ones(4)) == pytest.approx(0, abs=1e-12)
    with pytest.raises(RequestError, match="Neither loss"):
        script.gradient_similarity(STEP, np.ones(4), np.ones(4))


def test_pearson_and_cosine_by_hand(script):
    assert script.pearson(FALLING, 3 * FALLING + 2) == pytest.approx(1)
    assert script.pearson(FALLING, -FALLING) == pytest.approx(-1)
    # Centred (-1, 0, 1) and (-1, 1, 0).
    assert script.pearson(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)
    assert script.cosine(np.array([3.0, 4]), np.array([4.0, 3])) == pytest.approx(24 / 25)
    with pytest.raises(RequestError, match=r"structure is 2 at every step"):
        script.pearson(FALLING, np.full(4, 2.0))


def test_the_cosine_of_opposite_losses_is_near_one_as_the_note_says(script):
    rising = 5 + FALLING.max() - FALLING
    assert script.pearson(5 + FALLING, rising) == pytest.approx(-1)
    assert script.cosine(5 + FALLING, rising) > 0.9


def test_the_moving_average_shortens_the_curve_and_keeps_a_line(script):
    np.testing.assert_allclose(script.moving_average(np.array([0.0, 3, 6, 0, 3]), 3), [3, 3, 3])
    np.testing.assert_array_equal(script.moving_average(FALLING, 1), FALLING)
    for width in (0, 3):
        with pytest.raises(RequestError, match="width from 1 to 2"):
            script.moving_average(FALLING, width)


def table(folder: Path, *lines: str) -> Path:
    path = folder / "curves.csv"
    path.write_text("\n".join(("step,contrast,structure,other", *lines)) + "\n")
    return path


def test_rows_without_both_losses_are_left_out(script, tmp_path):
    path = table(tmp_path, "1,4,8,9", "2,,7,9", "3,2,4,", "5,0,1,2")
    step, contrast, structure = script.read_curves(path, ("contrast", "structure"))
    assert step.tolist() == [1, 3, 5]
    assert contrast.tolist() == [4, 2, 0]
    assert structure.tolist() == [8, 4, 1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("1,4,8,9", "2,nan,7,9"), "line 3: contrast is 'nan'"),
        (("1,4,8,9", "2,x,7,9"), "line 3: contrast is 'x'"),
        (("1,4,8,9", "1,4,8,9"), "line 3: step 1 follows 1"),
        (("1,4,8,9", "2,3,7,9"), "at least 3 are needed"),
    ],
)
def test_a_wrong_table_is_refused_by_line(script, tmp_path, lines, message):
    with pytest.raises(RequestError, match=message):
        script.read_curves(table(tmp_path, *lines), ("contrast", "structure"))


def test_the_command_prints_the_row_of_the_table_and_what_smoothed_it(script, tmp_path, capsys):
    path = table(tmp_path, *(f"{n},{10 - n},{2 * (10 - n)},0" for n in range(6)))
    plot = tmp_path / "curves.png"
    options = ["--contrast", "contrast", "--structure", "structure", "--smooth", "2"]
    assert script.main([f"one={path}", str(path), *options, "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    # Slopes -1 and -2: 2 * 2 / (1 + 4).
    assert "| one | 5 | 1.0000 | 1.0000 | 0.8000 |" in printed
    assert "| curves | 5 | 1.0000 | 1.0000 | 0.8000 |" in printed
    assert "moving average over 2" in printed
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_kept_numbers_count_seeds_of_a_name(script, tmp_path):
    path = table(tmp_path, *(f"{n},{10 - n},{2 * (10 - n)},0" for n in range(6)))
    options = ["--contrast", "contrast", "--structure", "structure"]
    kept = tmp_path / "kept.csv"
    assert script.main([f"a={path}", f"a={path}", f"b={path}", *options, "--csv", str(kept)]) == 0
    lines = [line.split(",") for line in kept.read_text().splitlines()]
    assert [line[:2] for line in lines[1:]] == [["a", "0"], ["a", "1"], ["b", "0"]]
    assert lines[0][-1] == "gradient_similarity"
    assert lines[1][-1] == "0.8"


def test_an_unknown_column_leaves_with_exit_code_2(script, tmp_path, capsys):
    path = table(tmp_path, "1,4,8,9")
    assert script.main([str(path), "--contrast", "contrastt", "--structure", "structure"]) == 2
    assert "Did you mean 'contrast'" in capsys.readouterr().err
