"""SPHERE-Art around a SPHERE: which weights a run takes, and what the networks see."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for package in ("monai", "safetensors"):
    pytest.importorskip(package)

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.methods.sphere_art import SphereArtParameters, sees_post, sphere_art
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS, Context, resolve_parameters
from ContrastSynthLib.registry.bundles import fits
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume
from ContrastSynthLib.weights.bundles import find_bundle
from ContrastSynthLib.weights.storage import save_bundle

SIZE = (24, 28, 16)
OLD_SPHERE = {"in_channels": 3, "width": 2, "autoencoder_width": 2}
NETWORKS = {
    "sphere": ("sphere", "sphere", OLD_SPHERE),
    "five": ("sphere", "residual_unet", {"in_channels": 5, "features": [2, 4]}),
    "art": ("sphere_art", "sphere_art", {"width": 2, "refinement_width": 2}),
    "old": ("sphere_art", "sphere_art", {"width": 2, "sphere": OLD_SPHERE}),
    "direct": (
        "sphere_art",
        "direct",
        {"architecture": "unet", "in_channels": 6, "width": 2, "base": 5},
    ),
}
"""Small networks: the method that they are for, their name and arguments."""


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Bundles of these networks with random numbers, by their names, which are as here."""
    folder, found = tmp_path_factory.mktemp("weights"), {}
    card = dict(find_bundle("sphere", None).metadata)
    del card["sha256"]
    for name, (method, network, arguments) in NETWORKS.items():
        torch.manual_seed(0)
        built = build_network(network, arguments)
        with torch.no_grad():
            for weight in built.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        told = {"name": name, "method": method}
        told["network"] = {"name": network, "arguments": arguments}
        found[name] = save_bundle(folder / name, built.state_dict(), {**card, **told}, "none")
    return found


@pytest.fixture(scope="module")
def scans():
    """A post scan, and a pre scan with a shadow of itself; the mask of the head."""
    patient = sample_patient(seed=3, size=SIZE)
    pre, post = patient.scans["pre"], patient.scans["post"]
    corrupted = pre.with_array(pre.array + 0.2 * np.roll(pre.array, 9, axis=1))
    head = post.with_array((post.array > 0).astype("f4"))
    return {"post": post, "corrupted": corrupted, "mask": head}


def made(scans, method="sphere_art", weights=None, progress=None, preset=None, **parameters):
    """Run a method; ``weights`` are folders by network, or one folder."""
    roles = (*METHODS[method].inputs, "mask")
    given = {role: scans[role] for role in roles}
    request = Request(method, given, parameters, preset=preset, weights=weights, device="cpu")
    return run(request, **({} if progress is None else {"progress": progress}))


def folders(weights, **names):
    return {network: str(weights[name].folder) for network, name in names.items()}


def used(result):
    return {entry["network"]: entry["id"] for entry in result.provenance["weights"]}


# ---- which weights


@pytest.mark.parametrize("name", ["sphere", "five"])
def test_sphere_art_runs_around_the_sphere_that_is_chosen(weights, scans, name):
    """The uptake is to the bit that of the method sphere, with whichever of its networks."""
    result = made(scans, weights=folders(weights, sphere=name, sphere_art="art"))
    assert used(result) == {"sphere": weights[name].id, "sphere_art": weights["art"].id}
    alone = made(scans, "sphere", folders(weights, sphere=name))
    for_both = [r.outputs["uptake"].array for r in (result, alone)]
    assert for_both[0].std() > 0
    np.testing.assert_array_equal(*for_both)


def test_without_a_choice_it_is_the_sphere_that_the_method_sphere_runs(weights, scans):
    result = made(scans, weights=folders(weights, sphere_art="art"), preset="fast")
    assert used(result)["sphere"] == used(made(scans, "sphere", preset="fast"))["sphere"]
    other = made(scans, weights=folders(weights, sphere="sphere", sphere_art="art"), preset="fast")
    for output in ("pre", "uptake"):
        assert not np.array_equal(result.outputs[output].array, other.outputs[output].array)


@pytest.mark.parametrize(("name", "uptake"), [("old", True), ("direct", False)])
def test_a_network_that_sees_the_post_scan_is_asked_for_no_sphere(weights, scans, name, uptake):
    for weights_are in (folders(weights, sphere_art=name), str(weights[name].folder)):
        result = made(scans, weights=weights_are, preset="fast")
        assert used(result) == {"sphere_art": weights[name].id}
    assert result.outputs["uptake"].array.any() == uptake
    with pytest.raises(RequestError, match=r"needs none of the network 'sphere'\. Leave those out"):
        made(scans, weights=folders(weights, sphere="five", sphere_art=name))


def test_weights_of_sphere_fit_sphere_art_whatever_their_name(weights):
    assert {name for name in weights if fits(weights[name], METHODS["sphere_art"])} == {*NETWORKS}
    assert {name for name in weights if fits(weights[name], METHODS["sphere"])} == {
        "sphere",
        "five",
    }


def test_cards_tell_whether_the_post_scan_is_seen(weights):
    seen = {name: sees_post(weights[name].metadata["network"]) for name in ("art", "old", "direct")}
    assert seen == {"art": False, "old": True, "direct": True}


# ---- what the networks see


class Sees(torch.nn.Module):
    """Keeps what it is given; its result is one of the channels, and an uptake of a half."""

    def __init__(self, channel, gain=1.0):
        super().__init__()
        self.channel, self.gain, self.given = channel, gain, []

    def forward(self, slices):
        self.given.append(slices.numpy().copy())
        pre = self.gain * slices[:, self.channel : self.channel + 1]
        return {"pre": pre, "uptake": torch.full_like(pre, 0.5)}


def context_of(scans, networks, cards, progress=None):
    bundles = {name: SimpleNamespace(metadata={"network": card}) for name, card in cards.items()}
    options = {} if progress is None else {"progress": progress}
    context = Context(scans["mask"].array > 0, bundles=bundles, **options)
    context._networks.update(networks)
    return context


def looked_at(scans, gain=0.7, progress=None, **parameters):
    """Run the method with networks that keep what they see; return these and the outputs."""
    sphere, art = Sees(2, gain), Sees(1)
    cards = {
        "sphere": {"name": "residual_unet", "arguments": {"in_channels": 5}},
        "sphere_art": {"name": "sphere_art", "arguments": {}},
    }
    context = context_of(scans, {"sphere": sphere, "sphere_art": art}, cards, progress)
    outputs = sphere_art(
        scans["post"],
        scans["corrupted"],
        parameters=SphereArtParameters(**parameters),
        context=context,
    )
    return sphere, art, outputs


@pytest.fixture(scope="module")
def bricks():
    """Noise on a grid of 1 mm that needs no padding: all of it is in the mask."""
    rng = np.random.default_rng(0)
    grid = Grid((32, 16, 16))
    noise = [Volume(rng.uniform(100, 300, grid.shape).astype("f4"), grid) for _ in range(2)]
    mask = Volume(np.ones(grid.shape, "f4"), grid)
    return {
        "post": noise[0],
        "corrupted": replace(noise[1], array=7 * noise[1].array),
        "mask": mask,
    }


def test_the_refinement_sees_both_scans_by_their_own_means(bricks):
    sphere, art, outputs = looked_at(bricks, mirrored=False, three_directions=False)
    assert {given.shape[1] for given in sphere.given} == {5}
    seen = np.concatenate(art.given)
    assert seen.shape == (16, 2, 16, 32)
    np.testing.assert_allclose(seen.mean(axis=(0, 2, 3)), 1, rtol=1e-5)
    # SPHERE's factor of 0.7 and the units of the scans are gone.
    for channel, role in enumerate(("post", "corrupted")):
        scan = bricks[role].array
        np.testing.assert_allclose(seen[:, channel], scan / scan.mean(), rtol=1e-4)
    np.testing.assert_allclose(outputs["pre"], bricks["corrupted"].array, rtol=1e-4)
    np.testing.assert_allclose(outputs["uptake"], 0.5)


@pytest.fixture
def small_heads(monkeypatch):
    """Small volumes count as whole heads, which are sliced in three directions."""
    monkeypatch.setattr("ContrastSynthLib.methods._slices.LEAST_SIDE_MM", 1.0)


@pytest.mark.usefixtures("small_heads")
def test_sphere_runs_in_three_directions_and_mirrored_as_asked(bricks):
    counts = {}
    for three, mirrored in ((False, False), (True, False), (True, True)):
        sphere, art, _ = looked_at(bricks, three_directions=three, mirrored=mirrored)
        counts[three, mirrored] = [sum(map(len, network.given)) for network in (sphere, art)]
    # 16, 16 and 32 slices; the refinement sees the axial ones.
    assert counts == {
        (False, False): [16, 16],
        (True, False): [64, 16],
        (True, True): [128, 32],
    }


def test_the_presets_of_the_paper_and_for_speed_have_one_direction():
    values = {
        preset: resolve_parameters(METHODS["sphere_art"], {}, preset).values.three_directions
        for preset in (None, "paper", "fast", "aliasing")
    }
    assert values == {None: True, "paper": False, "fast": False, "aliasing": True}


@pytest.mark.usefixtures("small_heads")
def test_progress_goes_on_over_both_networks(bricks):
    seen, before_art = [], []
    sphere, art, _ = looked_at(bricks, progress=lambda share, _: seen.append(share))
    assert sphere.given
    assert art.given
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert 0.9 < seen[-1] <= 1
    looked_at(bricks, three_directions=False, progress=lambda share, _: before_art.append(share))
    # One direction: each of the two takes half.
    assert 0.5 in before_art
    assert any(0 < share < 0.5 for share in before_art)


@pytest.mark.parametrize(
    ("card", "post_slices"),
    [
        ({"name": "sphere_art", "arguments": {"sphere": {}}}, 3),
        ({"name": "sphere_art", "arguments": {"sphere": {"in_channels": 5}}}, 5),
        ({"name": "direct", "arguments": {"in_channels": 6}}, 5),
    ],
)
def test_a_network_that_sees_the_post_scan_gets_as_many_slices_as_it_sees(
    bricks, card, post_slices
):
    art = Sees(post_slices)
    context = context_of(bricks, {"sphere_art": art}, {"sphere_art": card})
    sphere_art(
        bricks["post"],
        bricks["corrupted"],
        parameters=SphereArtParameters(mirrored=False),
        context=context,
    )
    seen = np.concatenate(art.given)
    assert seen.shape[1] == post_slices + 1
    post, corrupted = (bricks[role].array for role in ("post", "corrupted"))
    middle = post_slices // 2
    np.testing.assert_allclose(seen[:, middle], post / post.mean(), rtol=1e-5)
    np.testing.assert_allclose(seen[:-1, middle + 1], seen[1:, middle])
    np.testing.assert_allclose(seen[:, -1], corrupted / corrupted.mean(), rtol=1e-5)
