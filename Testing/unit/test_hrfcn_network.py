"""The high-resolution network: shapes, branches, inputs that are left out."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.hrfcn import HighResolutionFCN

SMALL = {"widths": (4, 8, 16), "blocks": 1}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("size", [(3, 32, 24), (3, 33, 21), (1, 16, 16), (8, 20, 20)])
def test_a_volume_of_any_size_gives_one_image(size):
    made = HighResolutionFCN(**SMALL)(torch.randn(2, 3, *size))
    assert set(made) == {"post"}
    assert made["post"].shape == (2, 1, *size)


def test_slices_are_its_two_dimensional_form():
    network = build_network("hrfcn", {**SMALL, "dimensions": 2, "inputs": ("t1", "t2")})
    assert network(torch.randn(2, 2, 32, 24))["post"].shape == (2, 1, 32, 24)
    network.eval()
    volume = torch.randn(2, 2, 3, 32, 24)
    made = network(volume)["post"]
    assert made.shape == (2, 1, 3, 32, 24)
    torch.testing.assert_close(made[1, :, 2], network(volume[1:, :, 2])["post"][0])
    with pytest.raises(ValueError, match="2 for slices, 3 for volumes"):
        HighResolutionFCN(dimensions=4)


def test_without_fusion_a_coarse_branch_tells_the_finest_nothing_before_the_end():
    torch.manual_seed(0)
    for fused in (True, False):
        network = HighResolutionFCN(**SMALL, fused=fused).eval()
        told = []
        network.exchanges[-1].register_forward_hook(
            lambda _, __, made, told=told: told.append(made)
        )
        scans = torch.randn(1, 3, 3, 16, 16)
        with torch.no_grad():
            network(scans)
            for coarse in (network.stages[1][1], network.stages[2][1], network.stages[2][2]):
                for parameter in coarse.parameters():
                    parameter.add_(1.0)
            network(scans)
        before, after = (branches[0] for branches in told)
        assert torch.equal(before, after) != fused
    assert [len(ways) for ways in network.exchanges[1].ways] == [1, 1, 1]


def test_the_paper_has_three_branches_of_four_blocks():
    with torch.device("meta"):
        network = HighResolutionFCN()
    stages = [[len(branch) for branch in stage] for stage in network.stages]
    assert stages == [[4], [4, 4], [4, 4, 4]]
    assert len(network.stems) == 3
    with torch.device("meta"):
        code = HighResolutionFCN(widths=(32, 64, 128, 256))
    assert [len(stage) for stage in code.stages] == [1, 2, 3, 4]
    made = HighResolutionFCN(widths=(4, 8, 16, 32), blocks=1, joined=2)
    assert made.last[0][0].in_channels == 4 + 8
    assert made(torch.randn(1, 3, 3, 32, 24))["post"].shape == (1, 1, 3, 32, 24)


def test_branches_are_coarser_in_plane_and_see_further():
    network = HighResolutionFCN(**SMALL).eval()
    sizes = network._sizes(torch.Size((3, 32, 24)), 3)
    assert [tuple(size) for size in sizes] == [(3, 32, 24), (3, 16, 12), (3, 8, 6)]
    image = torch.randn(1, 3, 3, 64, 64)
    moved = image.clone()
    moved[..., 32, 32] += 10
    change = (network(moved)["post"] - network(image)["post"]).abs()[0, 0].amax(dim=0)
    reached = (change > 0).nonzero()
    assert (reached.amax(dim=0) - reached.amin(dim=0)).min() > 2 * 12


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
def test_features_may_be_normalised_otherwise(norm):
    network, scans = HighResolutionFCN(**SMALL, norm=norm).train(), torch.randn(2, 3, 3, 16, 16)
    alone, together = network(scans[:1])["post"], network(scans)["post"][:1]
    assert torch.allclose(alone, together, atol=1e-5) == (norm != "batch")
    with pytest.raises(ValueError, match="one of batch, instance, group"):
        HighResolutionFCN(**SMALL, norm="layer")


def test_an_input_that_is_left_out_gives_nothing_whatever_its_stem_says():
    network = HighResolutionFCN(**SMALL).eval()
    with torch.no_grad():
        for norm in network.stems[1].modules():
            if isinstance(norm, torch.nn.BatchNorm3d):
                norm.bias.fill_(1.0)
    scans = torch.randn(1, 3, 3, 16, 16)
    scans[:, 1] = 0
    one = network(scans)["post"]
    with torch.no_grad():
        for parameter in network.stems[1].parameters():
            parameter.mul_(3)
    assert torch.equal(network(scans)["post"], one)
    # Of two examples only the one that lacks it is without.
    scans = torch.randn(2, 3, 3, 16, 16)
    scans[0, 1] = 0
    alone = network(scans[:1])["post"]
    torch.testing.assert_close(network(scans)["post"][:1], alone)


def test_it_may_add_to_an_input():
    network = HighResolutionFCN(**SMALL, base=0).eval()
    scans = torch.randn(1, 3, 3, 16, 16)
    with torch.no_grad():
        network.last[-1].weight.zero_()
        network.last[-1].bias.zero_()
    assert torch.equal(network(scans)["post"], scans[:, :1])


def test_every_parameter_learns():
    network = HighResolutionFCN(**SMALL)
    network(torch.randn(2, 3, 3, 16, 16))["post"].pow(2).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
