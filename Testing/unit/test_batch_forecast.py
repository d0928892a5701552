"""The time that a batch will still take, from made-up times of its cases."""

import json

import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.batch.forecast import (
    LAST_CASES,
    LEAST_CASES,
    SECONDS_BETWEEN_LINES,
    Forecast,
    seconds_left,
    time_in_words,
)


def test_the_median_of_the_cases_counts():
    assert seconds_left([10.0, 12.0, 500.0], to_come=7, at_once=1) == 12.0 * 7


def test_workers_share_the_cases():
    assert seconds_left([10.0] * 5, to_come=8, at_once=4) == 20.0


def test_a_case_takes_its_time_however_many_workers_there_are():
    assert seconds_left([10.0] * 5, to_come=2, at_once=16) == 10.0


def test_nothing_is_left_at_the_end():
    assert seconds_left([10.0] * 5, to_come=0, at_once=4) == 0.0


@pytest.mark.parametrize("count", range(LEAST_CASES))
def test_too_few_cases_foretell_nothing(count):
    assert seconds_left([10.0] * count, to_come=5, at_once=1) is None


def test_only_the_last_cases_count():
    """A computer that has become slower, as by another batch beside this one."""
    assert seconds_left([1.0] * 100 + [4.0] * LAST_CASES, to_come=10, at_once=2) == 20.0


def test_it_is_right_for_a_queue_of_workers():
    """Played through: cases of about 30 s on three workers, from the moment of the tenth end on."""
    times = [30.0 + (n * 7 % 11) - 5 for n in range(200)]
    free, ends = [0.0] * 3, []
    for time in times:
        first = free.index(min(free))
        free[first] += time
        ends.append((free[first], time))
    ends.sort()
    known = [time for _, time in ends[:10]]
    left = seconds_left(known, to_come=len(times) - 10, at_once=3)
    assert left == pytest.approx(ends[-1][0] - ends[9][0], rel=0.1)


def test_a_line_is_told_now_and_then():
    forecast = Forecast(at_once=2)
    lines = []
    for second in range(0, 200, 10):
        forecast.note(20.0)
        lines.append(forecast.line(to_come=100 - second // 10, total=100, now_s=float(second)))
    told = [second * 10 for second, line in enumerate(lines) if line]
    assert told == [20, 20 + SECONDS_BETWEEN_LINES, 20 + 2 * SECONDS_BETWEEN_LINES]
    assert lines[2] == (
        "Expected: about 16 min for the 98 of 100 cases to come, 2 at a time, by the last 3"
    )


def test_cases_that_were_kept_foretell_nothing():
    forecast = Forecast(at_once=1)
    for _ in range(50):
        forecast.note(None)
    assert forecast.left_s(100) is None


def test_a_batch_that_is_soon_over_needs_no_line():
    forecast = Forecast(at_once=1)
    for _ in range(5):
        forecast.note(0.1)
    assert forecast.line(to_come=5, total=10, now_s=0.0) is None
    assert forecast.left_s(5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(41.4, "41 s"), (100.0, "2 min"), (3600.0, "60 min"), (12000.0, "3 h 20 min")],
)
def test_times_are_told_as_people_do(seconds, words):
    assert time_in_words(seconds) == words


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_batch_sends_the_time_that_is_left(tmp_path, capfd, workers):
    if workers != "1":
        pytest.importorskip("distributed", reason="dask is not installed")
    write_volume(sample_patient(seed=0, size=(24, 28, 20)).scans["post"], tmp_path / "post.nrrd")
    lines = [f"c{number},post.nrrd" for number in range(6)]
    (tmp_path / "cases.csv").write_text("\n".join(["case,post", *lines]), encoding="utf-8")
    words = ["batch", "physics_pre", "--cases", str(tmp_path / "cases.csv"), "--progress", "json"]
    words += ["--workers", workers, "--seed", "1", "--resume", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    left = [line.get("seconds_left") for line in told if line["type"] == "progress"]
    assert left[: LEAST_CASES - 1] == [None] * (LEAST_CASES - 1)
    assert all(seconds >= 0 for seconds in left[LEAST_CASES - 1 :])
    assert left[-1] == 0
    assert main(words) == 0  # all are kept, nothing is computed
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert not any("seconds_left" in line for line in told)
