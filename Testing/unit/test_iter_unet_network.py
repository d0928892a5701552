"""iterU-Net: where it begins, the time, the memory, and steps one after the other."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.iter_unet import (
    EMBEDDED,
    ConvLSTM,
    IterUNet,
    LaterPhases,
    sinusoids,
    told_times,
)

SMALL = (4, 4, 8, 8, 8, 4)
TIME = torch.tensor([[8.0, 15.0], [15.0, 23.0]])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def scans():
    return torch.randn(2, 2, 16, 32, 16)


def trained(**options):
    """A network whose last layer is not 0 any more."""
    network = IterUNet(SMALL, **options).eval()
    torch.nn.init.normal_(network.last.weight)
    return network


def test_it_begins_with_the_phase_that_it_was_given(scans):
    network = build_network("iter_unet", {"features": SMALL})
    made = network(scans, TIME)
    assert set(made) == {"post"}
    assert torch.equal(made["post"], scans[:, 1:])


def test_the_paper_has_these_features():
    with torch.device("meta"):
        network = IterUNet()
    widths = [down.convs.conv_1.conv.out_channels for down in network.downs]
    assert widths == [32, 64, 128, 256]
    assert network.first.conv_1.conv.out_channels == 28
    assert network.last.in_channels == 28


def test_times_are_told_apart(scans):
    one, same, other = (trained_at(scans, time) for time in (1.0, 1.0, 3.0))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    embedded = sinusoids(torch.tensor([0.0, 1.5]))
    assert embedded.shape == (2, EMBEDDED)
    torch.testing.assert_close(embedded.pow(2).sum(dim=1), torch.full((2,), EMBEDDED / 2))


def trained_at(scans, time):
    torch.manual_seed(1)
    return trained()(scans, torch.full((2, 2), time))["post"]


def test_without_time_or_memory_these_do_not_matter(scans):
    network = trained(clock="none")
    assert torch.equal(network(scans, TIME)["post"], network(scans, TIME + 1)["post"])
    network = trained(remembers=False)
    _, state = network.step(scans, TIME, None)
    assert state is None
    assert {name for name, _ in network.named_parameters() if "memory" in name} == set()


def test_the_state_of_a_step_changes_the_next(scans):
    network = trained()
    _, state = network.step(scans, TIME, None)
    hidden, cell = state
    assert hidden.shape == cell.shape == (2, SMALL[0], 16, 32, 16)
    again, _ = network.step(scans, TIME, state)
    fresh, _ = network.step(scans, TIME, None)
    assert not torch.allclose(again, fresh)


def test_the_memory_keeps_what_its_gates_let_through():
    memory, features = ConvLSTM(2), torch.randn(1, 2, 4, 4, 4)
    with torch.no_grad():
        memory.gates.weight.zero_()
        memory.gates.bias.copy_(torch.tensor([-9.0, -9, 9, 9, 9, 9, 0, 0]))
    cell = torch.rand(1, 2, 4, 4, 4)
    hidden, kept = memory(features, (torch.zeros_like(cell), cell))
    torch.testing.assert_close(kept, cell, atol=1e-3, rtol=0)
    torch.testing.assert_close(hidden, cell.tanh(), atol=1e-3, rtol=0)


def test_four_steps_in_a_row_can_be_learnt_from(scans):
    network, times = trained().train(), torch.tensor([[85.0, 155, 225, 295, 365]]).expand(2, -1)
    made = network.recursion(scans[:, :1], scans[:, 1:], times)
    assert [phase.shape for phase in made] == [scans[:, 1:].shape] * 4
    made[-1].pow(2).mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_a_recursion_goes_on_from_what_it_made_and_keeps_the_state(scans):
    network, times = trained(), torch.tensor([[60.0, 130, 260]]).expand(2, -1)
    pre, phase = scans[:, :1], scans[:, 1:]
    one, two = network.recursion(pre, phase, times)
    first, state = network.step(scans, told_times("seconds", 0, times[:, 0], times[:, 1]), None)
    torch.testing.assert_close(one, first)
    given = torch.cat([pre, one], dim=1)
    second, _ = network.step(given, told_times("seconds", 1, times[:, 1], times[:, 2]), state)
    torch.testing.assert_close(two, second)
    asked = LaterPhases(network, (60.0, 130.0, 260.0))(scans)["phases"]
    torch.testing.assert_close(asked, torch.cat([one, two], dim=1))


def test_the_time_is_told_as_the_clock_says():
    now, later = torch.tensor([85.0]), torch.tensor([155.0])
    assert told_times("seconds", 2, now, later).tolist() == [[8.5, 15.5]]
    assert told_times("index", 2, now, later).tolist() == [[2.0]]
    assert told_times("none", 2, now, later).shape == (1, 0)
    network = trained(clock="index")
    assert network(torch.zeros(1, 2, 16, 32, 16), torch.zeros(1, 1))["post"].shape[1] == 1
    with pytest.raises(ValueError, match="unknown clock 'hours'"):
        IterUNet(SMALL, clock="hours")
