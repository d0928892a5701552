"""The slice networks: their shapes and switches, the paper's equations, and what starts as what."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise
from pathlib import Path

import pytest

from ContrastSynthLib.errors import RequestError

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from torch import nn
from torch.nn import functional

from ContrastSynthLib.networks import NETWORKS, build_network
from ContrastSynthLib.networks.baselines import (
    ARCHITECTURES,
    RECURRENCES,
    Direct,
    R2AttentionUNet,
    RecurrentResidual,
    parameters_of,
    width_for,
)
from ContrastSynthLib.networks.blocks import Decoder, Encoder, NestedUNet
from ContrastSynthLib.networks.features import (
    VGG16_FEATURES,
    VGG16_TAPS,
    TissueClassifier,
    TissueFeatures,
    Vgg16Features,
    load_vgg16,
)
from ContrastSynthLib.networks.mirrored import Mirrored
from ContrastSynthLib.networks.residual_unet import ResidualUNet
from ContrastSynthLib.networks.sphere import INPAINTS, SCALE, HyperintensityPrior, Sphere, middle
from ContrastSynthLib.networks.sphere_art import LEVEL_RANGE, ROUTES, SphereArt, level_between
from ContrastSynthLib.physics.constants import HYPERINTENSITY_SENSITIVITY, HYPERINTENSITY_THRESHOLD

SMALL = {"width": 2, "autoencoder_width": 2}


@pytest.fixture(autouse=True)
def seeded():
    """One thread: for images this small, threads wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def slices(channels: int = 3, rows: int = 32, cols: int = 32, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, channels, rows, cols) + 0.2


def stirred(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, with every weight off its start."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return network.eval()


def learns(module: nn.Module) -> bool:
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    return any(bool(gradient.abs().sum() > 0) for gradient in gradients)


# ---- blocks


@pytest.mark.parametrize(("rows", "cols"), [(16, 16), (32, 48), (64, 16)])
def test_outputs_have_the_size_of_the_slice(rows, cols):
    shape = (2, 1, rows, cols)
    post = slices(3, rows, cols)
    outputs = Sphere(**SMALL).eval()(post)
    assert {"pre", "uptake", "uptake_logits", "hyperintensity", "reconstruction"} == set(outputs)
    assert all(image.shape == shape for image in outputs.values())
    for architecture in ARCHITECTURES:
        assert Direct(architecture, 3, 2).eval()(post)["pre"].shape == shape
    art, given = SphereArt(width=2, refinement_width=2).eval(), slices(2, rows, cols)
    assert {name: image.shape for name, image in art(given).items()} == {"pre": shape}
    assert all(image.shape == shape for image in art.routes(given).values())


def test_encoder_and_decoder_go_through_the_scales():
    features = Encoder(2, 3, 4).eval()(slices(2, 32, 48))
    assert [tuple(f.shape[1:]) for f in features] == [
        (3 * 2**scale, 32 // 2**scale, 48 // 2**scale) for scale in range(4)
    ]
    assert Decoder(3, 4).eval()(features).shape == (2, 1, 32, 48)
    classifier = TissueClassifier(classes=7, width=2).eval()
    assert classifier(slices(1)).shape == (2, 7, 32, 32)
    assert [f.shape[1] for f in TissueFeatures(4).eval()(slices(1))] == [4, 8, 16]


def test_a_slice_is_not_scaled_by_its_own_contents():
    """Batch normalisation: in use, the output does not depend on the other slices of a batch."""
    network = stirred(NestedUNet(1, 2)).double()
    image = slices(1).double()
    both, alone = network(image), network(image[:1])
    torch.testing.assert_close(both[:1], alone)
    assert not any(isinstance(m, nn.InstanceNorm2d) for m in network.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


# ---- SPHERE, eq. 18 to 24


def test_the_prior_is_equations_19_and_20():
    prior = HyperintensityPrior()
    assert prior.scale.item() == pytest.approx(SCALE)
    assert prior.sensitivity.item() == pytest.approx(HYPERINTENSITY_SENSITIVITY) == 5.0
    assert HYPERINTENSITY_THRESHOLD == 0.3
    with torch.no_grad():
        prior.log_scale.fill_(math.log(0.5))
        prior.log_sensitivity.fill_(math.log(8.0))
    found = prior(torch.tensor([[[[0.0, 0.6, 1.0, 2.0]]]])).flatten().tolist()
    wanted = [1 / (1 + math.exp(-8.0 * (0.5 * value - 0.3))) for value in (0.0, 0.6, 1.0, 2.0)]
    assert found == pytest.approx(wanted, rel=1e-5)
    assert found[1] == pytest.approx(0.5)


@pytest.mark.parametrize("sign", [1, -1])
def test_scale_and_sensitivity_learn_and_stay_positive(sign):
    prior = HyperintensityPrior()
    optimiser = torch.optim.SGD(prior.parameters(), lr=1e3)
    (sign * prior(torch.full((1, 1, 4, 4), 2.0)).mean()).backward()
    gradients = [prior.log_scale.grad.item(), prior.log_sensitivity.grad.item()]
    assert all(gradient != 0 for gradient in gradients)
    for weight in prior.parameters():
        weight.grad.div_(100 * weight.grad.abs())  # a step of 10: factors of 22,000
    optimiser.step()
    assert prior.scale.item() > 0
    assert prior.sensitivity.item() > 0
    assert prior.scale.item() != pytest.approx(SCALE)


def test_outputs_are_for_the_middle_slice():
    assert middle(torch.arange(5.0).view(1, 5, 1, 1)).item() == 2
    network, post = Sphere(5, **SMALL).eval(), slices(5)
    torch.testing.assert_close(network(post)["pre"], post[:, 2:3])
    torch.testing.assert_close(Direct("unet", 5, 2).eval()(post)["pre"], post[:, 2:3])
    network = stirred(network)
    other = post.clone()
    other[:, [0, 1, 3, 4]] += 0.5
    first, second = network(post), network(other)
    # The prior sees the middle slice alone, the segmentation its neighbours too.
    for name in ("reconstruction", "hyperintensity"):
        torch.testing.assert_close(first[name], second[name])
    assert not torch.allclose(first["uptake_logits"], second["uptake_logits"])


SWITCHES = {
    "hyperintensity": ({"autoencoder", "prior"}, {"hyperintensity", "reconstruction"}),
    "segmentation": ({"segmentation"}, set()),
    "autoencoder": ({"autoencoder"}, {"reconstruction"}),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_an_ablation_removes_what_it_says_and_nothing_else(switch):
    whole, without = Sphere(**SMALL), Sphere(**SMALL, **{switch: False})
    post = slices()
    removed, silent = SWITCHES[switch]

    def parts(network: nn.Module) -> set[str]:
        return {name.split(".")[0] for name, _ in network.named_parameters()}

    assert parts(whole) - parts(without) == removed
    assert set(whole.eval()(post)) - set(without.eval()(post)) == silent
    masks = 1 if switch in ("hyperintensity", "segmentation") else 2
    assert without.fuse.weight.shape == (1, masks, 1, 1)
    gone = [p.numel() for name, p in whole.named_parameters() if name.split(".")[0] in removed]
    assert parameters_of(whole) - parameters_of(without) == sum(gone) + 2 - masks


def test_without_the_autoencoder_the_prior_sees_the_scan():
    network, post = stirred(Sphere(**SMALL, autoencoder=False)), slices()
    gamma, u = network.prior.log_scale.exp(), network.prior.log_sensitivity.exp()
    wanted = torch.sigmoid(u * (gamma * post[:, 1:2] - 0.3))
    torch.testing.assert_close(network(post)["hyperintensity"], wanted)


def test_a_threshold_that_is_not_learnt_stays_as_it_begins():
    network = Sphere(**SMALL, learnt_threshold=False)
    fixed = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert fixed == ["prior.log_scale", "prior.log_sensitivity"]
    torch.testing.assert_close(network.prior.scale.item(), SCALE)
    assert all(p.requires_grad for p in Sphere(**SMALL).parameters())


def test_without_prior_and_segmentation_nothing_is_built():
    with pytest.raises(ValueError, match="uptake"):
        Sphere(**SMALL, hyperintensity=False, segmentation=False)


@pytest.mark.parametrize("switches", [{}, {"hyperintensity": False}, {"segmentation": False}])
def test_the_fusion_is_a_weighted_sum_of_the_masks_in_use(switches):
    network, post = stirred(Sphere(**SMALL, **switches)), slices()
    masks = []
    if network.segmentation is not None:
        masks.append(network.segmentation(post))
    found = network(post)
    if network.prior is not None:
        masks.append(found["hyperintensity"])
    weights = network.fuse.weight.flatten()
    assert len(weights) == len(masks)
    wanted = network.fuse.bias + sum(w * mask for w, mask in zip(weights, masks, strict=True))
    torch.testing.assert_close(found["uptake_logits"], wanted)
    torch.testing.assert_close(found["uptake"], 1 / (1 + torch.exp(-wanted)))


def test_inpainting_changes_what_the_mask_allows_or_predicts_the_image():
    post = slices()
    for inpaints in INPAINTS:
        network = stirred(Sphere(**SMALL, inpaints=inpaints))
        found = network(post)
        predicted = network.inpainting(torch.cat([post, found["uptake"]], dim=1))
        wanted = {
            "masked": post[:, 1:2] - found["uptake"] * predicted,
            "cautious": post[:, 1:2] - found["uptake"] ** 2 * predicted,
            "residual": post[:, 1:2] - predicted,
            "image": predicted,
        }
        torch.testing.assert_close(found["pre"], wanted[inpaints])
    start = Sphere(**SMALL, inpaints="image").eval()(post)["pre"]
    assert not torch.allclose(start, post[:, 1:2], atol=1e-2)
    with pytest.raises(ValueError, match="masked, cautious, residual, image"):
        Sphere(**SMALL, inpaints="everything")


def test_stages_teach_what_they_name():
    stage_1 = ("autoencoder", "segmentation", "prior", "fuse")
    for stage, learnt in (("uptake", stage_1), ("inpainting", ()), ("joint", stage_1)):
        network = Sphere(**SMALL)
        nn.init.normal_(network.inpainting.net.final_conv_0_4.weight)
        found = network(slices(), stage=stage)
        assert ("pre" in found) == (stage != "uptake")
        found.get("pre", found["uptake"]).square().mean().backward()
        for part in stage_1:
            assert learns(getattr(network, part)) == (part in learnt), (stage, part)
        assert learns(network.inpainting) == (stage != "uptake")


# ---- the direct baselines


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_baseline_starts_as_its_base_and_learns(architecture):
    network, given = Direct(architecture, 4, 2, base=3), slices(4)
    pre = network(given)["pre"]
    torch.testing.assert_close(pre, given[:, 3:4])
    (pre - 0.5 * given[:, 3:4]).square().mean().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert not torch.allclose(network(given)["pre"], given[:, 3:4], atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_baseline_gets_the_parameters_of_sphere(architecture):
    with torch.device("meta"):  # counted, not filled with numbers
        wanted = parameters_of(Sphere(width=5))
        width = width_for(architecture, 3, wanted)
        found = parameters_of(Direct(architecture, 3, width))
    assert found == pytest.approx(wanted, rel=0.1)


def block_parameters(channels: int, width: int) -> int:
    """A shortcut, and two convolutions with a normalisation, however often they recur."""
    shortcut = channels * width + width
    return shortcut + 2 * ((9 * width * width + width) + 2 * width)


def test_recurrences_share_their_weights():
    block = RecurrentResidual(3, 4)
    assert parameters_of(block) == block_parameters(3, 4)
    calls = []
    for step in block.steps:
        step.register_forward_hook(lambda module, *_: calls.append(module))
    block(slices())
    assert [calls.count(step) for step in block.steps] == [1 + RECURRENCES] * 2 == [3, 3]


def test_a_recurrent_block_is_what_it_is_written_out():
    block, image = stirred(RecurrentResidual(3, 4)), slices()
    state = start = functional.conv2d(image, block.shortcut.weight, block.shortcut.bias)
    for step in block.steps:
        conv, norm = step[0], step[1]

        def applied(entered, conv=conv, norm=norm):
            found = functional.conv2d(entered, conv.weight, conv.bias, padding=1)
            # Nothing was seen yet: mean 0 and variance 1.
            found = found / math.sqrt(1 + norm.eps) * norm.weight[:, None, None]
            found = found + norm.bias[:, None, None]
            return torch.where(found > 0, found, 0.1 * found)

        once = applied(state)
        twice = applied(state + once)
        state = applied(state + twice)
    torch.testing.assert_close(block(image), start + state, rtol=1e-4, atol=1e-4)


def test_the_recurrent_unet_has_the_parameters_of_its_parts():
    widths = (2, 4, 8, 16, 32)
    wanted = sum(block_parameters(c, w) for c, w in zip((3, *widths), widths, strict=False))
    for fine, coarse in pairwise(widths):
        gate = max(fine // 2, 1)
        wanted += 4 * coarse * fine + fine
        # Two convolutions to the gate's width and one to 1, each with a normalisation.
        wanted += 2 * (fine * gate + gate + 2 * gate) + gate + 1 + 2
        wanted += block_parameters(2 * fine, fine)
    assert parameters_of(R2AttentionUNet(3, 2)) == wanted + 2 + 1


# ---- SPHERE-Art


@pytest.fixture
def art() -> SphereArt:
    return stirred(SphereArt(width=2, refinement_width=2))


@pytest.fixture
def with_sphere() -> SphereArt:
    """As weights of version 1.1 and older are."""
    return stirred(SphereArt(width=2, refinement_width=2, sphere=SMALL))


def test_the_seven_routes_are_there_and_pre_is_one_of_them(art):
    assert len(ROUTES) == len(set(ROUTES)) == 7
    given = slices(2)
    routes = art.routes(given)
    assert set(routes) == {*ROUTES, "refined"}
    torch.testing.assert_close(art(given)["pre"], routes["pre"])
    for image in routes.values():
        others = [other for other in routes.values() if other is not image]
        assert not any(torch.allclose(image, other, atol=1e-5) for other in others)


def test_sphere_art_starts_with_its_inputs():
    network, given = SphereArt(width=2, refinement_width=2).eval(), slices(2)
    routes = network.routes(given)
    corrupted, synthetic = given[:, 1:], given[:, :1] * level_between(given[:, :1], given[:, 1:])
    for name in ("refined", "image_of_corrupted", "pre"):
        torch.testing.assert_close(routes[name], corrupted)
    torch.testing.assert_close(routes["image_of_synthetic"], synthetic)


def normalised(network: nn.Module) -> set[int]:
    """Return how often the layers of batch normalisation have seen a batch."""
    layers = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    assert layers
    return {int(each.num_batches_tracked) for each in layers}


def test_what_shares_a_network_is_normalised_together_in_training():
    """Later on there is one mean and deviation for all of it."""
    art = SphereArt(width=2, refinement_width=2).train()
    art.routes(slices(2))
    assert normalised(art) == {1}
    biceps = Direct("biceps", in_channels=3, width=2).train()
    biceps(torch.rand(2, 3, 32, 32), pre=torch.rand(2, 1, 32, 32))
    assert normalised(biceps) == {1}


def test_every_part_of_sphere_art_learns_from_the_routes(art):
    sum(image.square().mean() for image in art.routes(slices(2)).values()).backward()
    parts = ("refine_encoder", "refine_decoder", "encoder", "image_decoder")
    for part in (*parts, "structure_decoder", "contrast_decoder"):
        assert learns(getattr(art, part)), part
    assert {name.split(".")[0] for name in art.state_dict()} == {
        *parts,
        "structure_decoder",
        "contrast_decoder",
    }


def test_the_level_of_the_synthetic_scan_does_not_matter(art):
    given = slices(2) + LEVEL_RANGE[0]
    other = given * torch.tensor([1.2, 1.0]).view(1, 2, 1, 1)
    found, changed = art(given)["pre"], art(other)["pre"]
    close = {"rtol": 1e-3, "atol": 1e-4 * found.abs().max().item()}
    torch.testing.assert_close(found, changed, **close)
    other = torch.cat([given[:, :1].flip(-1), given[:, 1:]], dim=1)
    assert not torch.allclose(found, art(other)["pre"], **close)


def test_pre_is_synthetic_structure_with_corrupted_contrast(art):
    """The encoder sees the synthetic scan first, then the corrupted; halves: see the class."""
    given = slices(2)
    before = art(given)["pre"]
    for call, half in ((0, 0), (0, 1), (1, 0), (1, 1)):
        calls = iter(range(2))

        def disturb(module, inputs, features, calls=calls, call=call, half=half):
            if next(calls) != call:
                return None
            chunks = [list(scale.chunk(2, dim=1)) for scale in features]
            for chunk in chunks:
                chunk[half] = chunk[half] + 1
            return [torch.cat(chunk, dim=1) for chunk in chunks]

        handle = art.encoder.register_forward_hook(disturb)
        changed = (art(given)["pre"] - before).abs().max().item()
        handle.remove()
        used = (call, half) in ((0, 0), (1, 1))
        assert changed > 1e-3 if used else changed == 0, (call, half)


def test_a_sphere_inside_does_what_one_before_does(art, with_sphere):
    """Weights of version 1.1 and older hold it: the same numbers, and its uptake beside them."""
    names = art.state_dict().keys()
    inside = {k: v for k, v in with_sphere.state_dict().items() if not k.startswith("sphere.")}
    assert inside.keys() == names
    art.load_state_dict(inside)
    given = slices(4)
    found = with_sphere.sphere(given[:, :3])
    wanted = art(torch.cat([found["pre"], given[:, 3:]], dim=1))["pre"]
    made = with_sphere(given)
    torch.testing.assert_close(made["pre"], wanted)
    torch.testing.assert_close(made["uptake"], found["uptake"])
    assert set(made) == {"pre", "uptake"}
    assert not torch.allclose(wanted, given[:, 3:])


def test_a_sphere_inside_gets_no_gradient(with_sphere):
    sum(image.square().mean() for image in with_sphere.routes(slices(4)).values()).backward()
    assert all(weight.grad is None for weight in with_sphere.sphere.parameters())
    assert learns(with_sphere.refine_encoder)


def test_the_corrupted_scan_reaches_the_uptake_by_no_way(with_sphere):
    given = slices(4)
    other = given.clone()
    other[:, 3] = other[:, 3].flip(-1)
    found, changed = with_sphere(given), with_sphere(other)
    torch.testing.assert_close(found["uptake"], changed["uptake"], rtol=0, atol=0)
    assert not torch.allclose(found["pre"], changed["pre"])


def test_levels_are_compared_in_the_tissue_of_each_slice():
    low, high = LEVEL_RANGE
    synthetic = torch.tensor([1.0, 0.6, 0.2, 0.0]).repeat(5, 1).view(5, 1, 2, 2)
    synthetic[3] = 0.1
    corrupted = torch.zeros(5, 1, 2, 2)
    corrupted[0] = torch.tensor([[1.2, 0.8], [9.0, 9.0]])
    corrupted[1] = 9.0
    corrupted[3:] = 1.0
    found = level_between(synthetic, corrupted)
    assert found.shape == (5, 1, 1, 1)
    # (1.2 + 0.8) / (1 + 0.6); too high; nothing there; no tissue; 2 / 1.6.
    assert found.flatten().tolist() == pytest.approx([1.25, high, low, 1.0, 1.25])


# ---- asked in the mirror


def test_mirrored_returns_the_mirror_image_with_the_mirror_image():
    network, post = stirred(Sphere(**SMALL)), slices()
    mirrored = Mirrored(network)
    there, back = mirrored(post), mirrored(post.flip(-1))
    assert set(there) == set(network(post))
    for name, image in there.items():
        torch.testing.assert_close(back[name].flip(-1), image, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network(post.flip(-1))["pre"].flip(-1), network(post)["pre"])


def test_mirrored_is_the_mean_of_both():
    class Ramp(nn.Module):
        def forward(self, image):
            return {"pre": image * torch.tensor([1.0, 2.0, 3.0])}

    found = Mirrored(Ramp())(torch.tensor([[[[1.0, 10.0, 100.0]]]]))["pre"]
    assert found.flatten().tolist() == [2.0, 20.0, 200.0]


def test_mirrored_tells_how_far_the_two_differ():
    class Ramp(nn.Module):
        def forward(self, image):
            return {"pre": image * torch.tensor([1.0, 2.0, 3.0])}

    found = Mirrored(Ramp(), spread=("pre",))(torch.tensor([[[[1.0, 10.0, 100.0]]]]))
    assert found["pre_spread"].flatten().tolist() == [1.0, 0.0, 100.0]


# ---- VGG-16


@pytest.fixture(scope="module")
def vgg_state() -> dict[str, torch.Tensor]:
    """Random weights with the names and shapes of torchvision's, and a layer more."""
    torch.manual_seed(1)
    state, index, channels = {"classifier.6.bias": torch.zeros(3)}, 0, 3
    for features in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512):
        if features:
            spread = math.sqrt(2 / (9 * channels))
            state[f"features.{index}.weight"] = spread * torch.randn(features, channels, 3, 3)
            state[f"features.{index}.bias"] = 0.1 * torch.randn(features)
            channels = features
        index += 2 if features else 1
    return state


@pytest.fixture(scope="module")
def vgg_file(vgg_state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(vgg_state, path)
    return path


def test_vgg_features_are_those_of_the_layers_written_out(vgg_state, vgg_file):
    image = slices(1, 32, 16, batch=1) * 2 - 0.4  # some below 0, some above the range
    grey = torch.clip(image / 1.5, 0, 1)
    means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    colours = zip(means, deviations, strict=True)
    state = torch.cat([(grey - mean) / deviation for mean, deviation in colours], dim=1)
    wanted, index, stage = [], 0, 0
    for convolutions in (2, 2, 3, 3):
        for _ in range(convolutions):
            weights = (vgg_state[f"features.{index}.{kind}"] for kind in ("weight", "bias"))
            state = functional.conv2d(state, *weights, padding=1).clamp(min=0)
            index += 2
        wanted.append(state)
        assert VGG16_TAPS[stage] == index - 1
        state, index, stage = functional.max_pool2d(state, 2), index + 1, stage + 1
    network = load_vgg16(vgg_file, data_range=1.5)
    found = network(image)
    assert [f.shape[1] for f in found] == [64, 128, 256, 512]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    assert sum(bool(f) for f in VGG16_FEATURES) == 10


def test_vgg_lets_the_gradient_through_to_the_image(vgg_file):
    image = slices(1, 16, 16, batch=1).requires_grad_()
    sum(f.mean() for f in load_vgg16(vgg_file, 2.0)(image)).backward()
    assert image.grad.abs().sum().item() > 0


class Trap:
    """A pickle that would make a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_what_is_not_vgg_is_refused(vgg_state, tmp_path):
    path, sprung = tmp_path / "vgg16.pth", tmp_path / "sprung"
    lacking = {name: t for name, t in vgg_state.items() if name != "features.21.bias"}
    shapeless = {name: 3 for name in vgg_state}
    other_shape = {**vgg_state, "features.0.weight": torch.zeros(64, 1, 3, 3)}
    cases = (
        (lambda: torch.save(lacking, path), r"features\.21\.bias"),
        (lambda: torch.save(other_shape, path), r"features\.0\.weight.*\(64, 3, 3, 3\)"),
        (lambda: torch.save([torch.zeros(1)], path), "list"),
        (lambda: torch.save(shapeless, path), r"features\.0\.weight"),
        (lambda: path.write_bytes(b"no weights at all"), "cannot be read"),
        (lambda: torch.save(Trap(sprung), path), "cannot be read"),
        (lambda: path.write_bytes(pickle.dumps(Trap(sprung))), "cannot be read"),
        (path.unlink, "cannot be read"),
    )
    for make, words in cases:
        make()
        with pytest.raises(RequestError, match=words):
            load_vgg16(path, 2.0)
        assert not sprung.exists()


def test_the_refusal_of_code_does_not_ask_to_run_it(tmp_path):
    path = tmp_path / "vgg16.pth"
    torch.save(Trap(tmp_path / "sprung"), path)
    with pytest.raises(RequestError) as refusal:
        load_vgg16(path, 2.0)
    assert "weights_only" not in str(refusal.value)


# ---- the residual U-Net


def test_the_residual_unet_starts_by_changing_nothing():
    given = slices(5)
    made = ResidualUNet(5, (4, 8, 8))(given)
    names = {"pre", "rise", "uptake_logits", "uptake", "error", "hyperintensity"}
    assert set(made) == names
    assert all(image.shape == (2, 1, 32, 32) for image in made.values())
    assert torch.equal(made["pre"], given[:, 2:3])
    assert (made["error"] > 0).all()


def test_the_residual_unet_without_prior_is_unsure_everywhere_at_the_start():
    made = ResidualUNet(5, (4, 8, 8), hyperintensity=False)(slices(5))
    assert "hyperintensity" not in made
    assert (made["uptake"] == 0.5).all()


def test_the_prior_takes_bright_voxels_for_uptake():
    given = torch.ones(1, 5, 32, 32)
    given[..., :4, :4] = 4.0
    made = ResidualUNet(5, (4, 8, 8))(given)
    for name in ("hyperintensity", "uptake"):
        assert made[name][..., :4, :4].min() > made[name][..., 4:, 4:].max()


def test_a_masked_rise_is_nothing_where_no_uptake_is():
    network, given = ResidualUNet(5, (4, 8, 8), masked=True), slices(5)
    nn.init.normal_(network.last.weight)
    nn.init.constant_(network.fuse.bias, -1e4)
    assert torch.equal(network(given)["pre"], given[:, 2:3])


def test_the_map_of_the_peak_concentration_is_there_for_the_physics_alone():
    given = slices(5)
    assert "peak" not in ResidualUNet(5, (4, 8, 8))(given)
    assert (ResidualUNet(5, (4, 8, 8), physics=True)(given)["peak"] > 0).all()


def test_the_residual_unet_subtracts_its_rise_and_learns_in_all_layers():
    network, given = ResidualUNet(5, (4, 8, 8)), slices(5)
    nn.init.normal_(network.last.weight)
    made = network(given)
    torch.testing.assert_close(made["pre"], given[:, 2:3] - made["rise"])
    torch.testing.assert_close(made["uptake"], torch.sigmoid(made["uptake_logits"]))
    (made["pre"] + made["uptake_logits"] + made["error"]).square().mean().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_a_scan_at_another_gain_gives_the_same_at_that_gain():
    network, given = ResidualUNet(5, (4, 8)).eval(), slices(5)
    nn.init.normal_(network.last.weight)
    given[:, :, :8] = 0
    once, other = network(given), network(300 * given)
    torch.testing.assert_close(300 * once["pre"], other["pre"], atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(once["uptake"], other["uptake"])
    torch.testing.assert_close(300 * once["error"], other["error"], atol=1e-2, rtol=1e-4)


def test_an_empty_slice_stays_empty():
    made = ResidualUNet(5, (4, 8)).eval()(torch.zeros(1, 5, 32, 32))
    assert not made["pre"].any()


def test_the_residual_unet_has_the_parameters_that_are_stated():
    assert 4.8e6 < parameters_of(ResidualUNet()) < 5.0e6


# ---- by name


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("direct", {"architecture": "unet", "in_channels": 3, "width": 2}),
        ("sphere", {"width": 2, "segmentation": False}),
        ("sphere_art", {"width": 2}),
        ("sphere_art", {"sphere": SMALL, "width": 2}),
        ("tissue_features", {"width": 4}),
        ("residual_unet", {"in_channels": 3, "features": [2, 4]}),
    ],
)
def test_networks_are_built_by_name(name, arguments):
    assert isinstance(build_network(name, arguments), NETWORKS[name])


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("spheer", {}, "Did you mean 'sphere'"),
        ("sphere", {"widht": 4}, "widht"),
        ("direct", {"architecture": "unett", "in_channels": 3, "width": 2}, "unett"),
        ("direct", {"architecture": "unet"}, "in_channels"),
        ("sphere", {"hyperintensity": False, "segmentation": False}, "uptake"),
        ("sphere", {"width": "wide"}, "sphere"),
        ("sphere", {"width": -1}, "sphere"),
        ("sphere_art", {"sphere": {"widht": 4}}, "widht"),
    ],
)
def test_networks_that_cannot_be_built_are_a_wrong_request(name, arguments, words):
    with pytest.raises(RequestError, match=words):
        build_network(name, arguments)


def test_vgg_is_not_shipped():
    assert Vgg16Features not in NETWORKS.values()
