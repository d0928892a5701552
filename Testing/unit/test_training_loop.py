"""The parts of the training loop: learning rate, average, clock, curves, and the model card."""

from __future__ import annotations

import csv
import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from ContrastSynthLib.errors import RequestError

torch = pytest.importorskip("torch")
for package in ("lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def clocks():
    return importlib.import_module("loop.clock")


@pytest.fixture(scope="module")
def card():
    return importlib.import_module("loop.card")


@pytest.fixture(scope="module")
def average_of():
    return importlib.import_module("loop.average").Average


@pytest.fixture(scope="module")
def curves_in():
    return importlib.import_module("loop.curves").Curves


def rows_in(folder: Path) -> list[dict[str, float]]:
    """The rows of the curves; what was not met in a row is left out."""
    with open(folder / "curves.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def test_the_rate_rises_and_falls(clocks):
    assert clocks.rate_at(0.0) == pytest.approx(0.05)
    assert clocks.rate_at(clocks.WARM_UP / 2) == pytest.approx(0.5)
    assert clocks.rate_at(clocks.WARM_UP) == pytest.approx(1)
    assert clocks.rate_at((1 + clocks.WARM_UP) / 2) == pytest.approx((1 + clocks.LAST_RATE) / 2)
    assert clocks.rate_at(1.0) == pytest.approx(clocks.LAST_RATE)
    rates = [clocks.rate_at(step / 1000) for step in range(1001)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_average_of_a_constant_network_is_that_network(average_of):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    average = average_of(network)
    for _ in range(5):
        average.update(network)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(average.network.state_dict()[name], tensor)
    assert not any(weight.requires_grad for weight in average.network.parameters())


def test_the_average_moves_by_its_share_and_copies_counters(average_of):
    network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    torch.nn.init.constant_(network[0].weight, 1.0)
    average = average_of(network, decay=0.1)
    torch.nn.init.constant_(network[0].weight, 3.0)
    network[1].num_batches_tracked += 7
    average.update(network)
    # Early on the share kept is 1 / 11, below the decay: what was at first is soon forgotten.
    assert average.network[0].weight.item() == pytest.approx(3 - 2 / 11)
    assert average.network[1].num_batches_tracked == 7
    average.update(network)
    assert average.network[0].weight.item() == pytest.approx(3 - 2 / 11 * 0.1)


def test_the_clock_takes_steps_or_minutes_whichever_comes_first(clocks):
    clock = clocks.Clock(SimpleNamespace(steps=10, minutes=2.0), torch.device("cpu"))
    assert clock.progress == pytest.approx(0, abs=0.05)
    clock.step = 5
    assert clock.progress == pytest.approx(0.5)
    clock.spent_s = 90.0
    assert clock.progress == pytest.approx(0.75, abs=0.05)
    clock.spent_s = 1000.0
    assert clock.progress == 1


def test_a_card_names_files_and_not_their_folders(card):
    assert card._without_folders(Path("/home/me/runs/bundle")) == "bundle"
    assert card._without_folders("/home/me/pool") == "pool"
    assert card._without_folders("virtual") == "virtual"
    assert card._without_folders("--out=/home/me/run") == "--out=run"
    assert card._without_folders(0.5) == 0.5


def test_curves_take_up_a_new_loss(curves_in, tmp_path):
    written = curves_in(tmp_path, every=2)
    for step, losses in enumerate([{"a": 1.0}, {"a": 3.0}, {"a": 1.0}, {"b": 5.0}], 1):
        written.add(step, losses)
    assert rows_in(tmp_path) == [{"step": 2, "a": 2}, {"step": 4, "a": 1, "b": 5}]
    again = curves_in(tmp_path, every=2)
    again.add(6, {"b": 4.0})
    assert rows_in(tmp_path)[-1] == {"step": 6, "b": 4}


def test_a_card_does_not_call_pairs_of_scans_virtual(card, clocks, monkeypatch, tmp_path):
    """What a hospital trains on its own scans is not said to be made by us, nor licensed so."""
    kept = {}
    monkeypatch.setattr(card, "save_bundle", lambda *given, **_: kept.update(given[2]))
    (tmp_path / "cases.json").write_text("{}", encoding="utf-8")
    for data, pairs in (("virtual", False), (str(tmp_path), True)):
        for start in (None, "sphere"):
            options = SimpleNamespace(
                data=data, fine_tune=start, steps=1, minutes=None, seed=0, out=tmp_path
            )
            clock = clocks.Clock(options, torch.device("cpu"))
            card.write_bundle(options, torch.nn.Identity(), {}, clock, torch.device("cpu"))
            assert (kept["training"]["data"] == "virtual brains") is not pairs
            assert (kept["training"]["data_licence"] == "Apache-2.0") is not pairs
            assert kept["trained_on_virtual_patients"] is (not pairs or start is not None)


def test_a_curve_that_goes_on_drops_what_was_written_after_the_checkpoint(curves_in, tmp_path):
    written = curves_in(tmp_path, every=1)
    for step in (1, 2, 3):
        written.add(step, {"a": torch.tensor(float(step), requires_grad=True)})
    curves_in(tmp_path, step=2, every=1).add(3, {"a": 9.0})
    assert [row["a"] for row in rows_in(tmp_path)] == [1, 2, 9]


def test_a_step_without_a_finite_gradient_is_skipped_and_many_end_the_training():
    from lightning_fabric import Fabric

    network = torch.nn.Linear(2, 1)
    learner = importlib.import_module("loop.learner").Learner(
        Fabric(accelerator="cpu"),
        network,
        torch.optim.SGD(network.parameters(), lr=1.0),
        max_norm=1.0,
    )
    before = [weights.detach().clone() for weights in network.parameters()]
    for _ in range(3):
        learner.descend(learner.network(torch.ones(1, 2)).sum() * float("nan"), 0.1)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    learner.descend(learner.network(torch.ones(1, 2)).sum(), 0.1)
    assert not torch.equal(before[0], next(iter(network.parameters())))

    def nothing():
        return learner.network(torch.ones(1, 2)).sum() * float("nan")

    for _ in range(19):
        learner.descend(nothing(), 0.1)
    with pytest.raises(RequestError, match="not finite for 20 steps"):
        learner.descend(nothing(), 0.1)


def test_a_name_that_weights_cannot_have_is_refused_before_the_training(tmp_path):
    loop = importlib.import_module("loop")
    for name, version, message in (
        ("my.net", "1.0", "--name is 'my.net'. Expected letters, digits and underscores"),
        ("net", "one", "--version is 'one'. Expected numbers with dots"),
    ):
        asked = SimpleNamespace(name=name, version=version, out=tmp_path / "run")
        with pytest.raises(RequestError, match=re.escape(message)):
            loop.start(asked)
    assert not (tmp_path / "run").exists()
