"""The V-Net of LIP-CAR: its levels and their convolutions, what it adds to, what it can learn."""

from __future__ import annotations

from collections import Counter

import pytest

from ContrastSynthLib.errors import RequestError

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from torch import nn
from torch.nn import functional

from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.mirrored import Mirrored
from ContrastSynthLib.networks.vnet import CONVOLUTIONS, SLOPE, SMALLEST_MULTIPLE, Residual, VNet
from ContrastSynthLib.weights.storage import load_state, save_bundle


@pytest.fixture(autouse=True)
def seeded():
    """One thread: for images this small, threads wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def slices(channels: int = 2, rows: int = 32, cols: int = 32, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, channels, rows, cols) + 0.2


def stirred(network: nn.Module) -> nn.Module:
    """The network with every weight off its start, and no more at 0 than above."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        network.last.bias.fill_(0.5)
    return network


def sizes_of(network: nn.Module, kind: type, image: torch.Tensor) -> list[tuple[int, ...]]:
    """Kernel, input and output features and the input's rows, of each layer in its turn."""
    found: list[tuple[int, ...]] = []

    def note(layer, given, output):
        found.append(
            (layer.kernel_size[0], layer.in_channels, layer.out_channels, given[0].shape[2])
        )

    hooks = [m.register_forward_hook(note) for m in network.modules() if type(m) is kind]
    network(image)
    for hook in hooks:
        hook.remove()
    return found


def last_of(network: VNet, image: torch.Tensor) -> torch.Tensor:
    """The output of the last layer, before the base is added and values below 0 are cut off."""
    found = []
    hook = network.last.register_forward_hook(lambda layer, given, output: found.append(output))
    network(image)
    hook.remove()
    return found[0]


# ---- levels


@pytest.mark.parametrize(("rows", "cols"), [(16, 16), (32, 48), (64, 16)])
@pytest.mark.parametrize("base", [None, 0, 1])
def test_the_output_is_one_image_of_the_size_of_the_slice(rows, cols, base):
    assert SMALLEST_MULTIPLE == 16
    assert VNet(2, 2, base=base)(slices(2, rows, cols))["image"].shape == (2, 1, rows, cols)


@pytest.mark.parametrize("size", [8, 24, 40])
def test_what_cannot_be_halved_four_times_does_not_pass_silently(size):
    with pytest.raises(RuntimeError):
        VNet(2, 2)(slices(2, 32, size))


@pytest.mark.parametrize("width", [2, 3])
def test_each_level_has_its_convolutions_and_twice_the_features(width):
    """1, 2, 3, 3 and 3 of them on the way down; on the way up as many, at the four finer ones."""
    seen = sizes_of(VNet(2, width), nn.Conv2d, slices(2, 64, 64))
    levels = Counter((rows, to) for kernel, _, to, rows in seen if kernel == 3)
    assert levels == {
        (64, width): 2 * 1,
        (32, 2 * width): 2 * 2,
        (16, 4 * width): 2 * 3,
        (8, 8 * width): 2 * 3,
        (4, 16 * width): 3,
    }
    assert CONVOLUTIONS == (1, 2, 3, 3, 3)


def test_it_goes_down_by_strides_and_up_by_transposed_convolutions():
    width, image = 3, slices(2, 64, 64)
    network = VNet(2, width)
    down = [layer for layer in sizes_of(network, nn.Conv2d, image) if layer[0] == 2]
    assert down == [(2, width * 2**n, width * 2 ** (n + 1), 64 // 2**n) for n in range(4)]
    up = sizes_of(network, nn.ConvTranspose2d, image)
    assert up == [(2, width * 2 ** (n + 1), width * 2**n, 32 // 2**n) for n in (3, 2, 1, 0)]
    strides = {m.stride for m in network.modules() if getattr(m, "kernel_size", None) == (2, 2)}
    assert strides == {(2, 2)}
    assert not any("Pool" in type(m).__name__ for m in network.modules())


def test_features_come_over_from_each_level_on_the_way_down():
    """The first convolution on the way up sees twice the features, its own and the coarser ones."""
    width, counts = 3, [1, 2, 3, 3, 3, 3, 3, 2, 1]
    seen = sizes_of(VNet(2, width), nn.Conv2d, slices(2, 64, 64))
    seen = [layer[1] for layer in seen if layer[0] == 3]
    first = [seen[sum(counts[:n])] for n in range(len(counts))]
    assert first == [
        2,
        *(width * 2**n for n in (1, 2, 3, 4)),
        *(2 * width * 2**n for n in (3, 2, 1, 0)),
    ]
    # With the coarse levels put out of action, the finest one still sees the image.
    network = stirred(VNet(2, width))
    with torch.no_grad():
        for weight in network.transposed.parameters():
            weight.zero_()
    finest = last_of(network, slices(batch=1))
    assert finest.std() > 1e-3
    image = slices(batch=1)
    reaches = torch.autograd.grad(last_of(network, image.requires_grad_(True))[0, 0, 16, 16], image)
    # Two convolutions of 3x3, one down and one up: 5 x 5 pixels.
    assert reaches[0].abs().amax(dim=(0, 1)).nonzero().amin(dim=0).tolist() == [14, 14]
    assert reaches[0].abs().amax(dim=(0, 1)).nonzero().amax(dim=0).tolist() == [18, 18]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("in_channels", [2, 4])
def test_a_block_is_what_it_is_written_out(count, in_channels):
    block = Residual(in_channels, 4, count).double()
    image = slices(in_channels).double() - 0.7
    given, found = dict(block.named_parameters()), image
    for n in range(count):
        weight, bias = (given[f"convolutions.{n}.{name}"] for name in ("weight", "bias"))
        assert weight.shape[2:] == (3, 3)
        found = functional.conv2d(found, weight, bias, padding=1)
        if n < count - 1:
            found = torch.where(found > 0, found, 0.2 * found)
    if in_channels == 4:
        found = found + image
    else:
        weight, bias = given["shortcut.weight"], given["shortcut.bias"]
        assert weight.shape == (4, in_channels, 1, 1)
        found = found + torch.einsum("oi,nihw->nohw", weight[..., 0, 0], image)
        found = found + bias[:, None, None]
    torch.testing.assert_close(block(image), torch.where(found > 0, found, 0.2 * found))
    assert SLOPE == 0.2


def test_nothing_is_normalised():
    """Without biases twice the image is twice the output, and a slice's neighbours do not count."""
    network = stirred(VNet(2, 3)).double()
    image = slices().double()
    both, alone = network(image)["image"], network(image[:1])["image"]
    torch.testing.assert_close(both[:1], alone)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
    once = last_of(network, image)
    assert once.abs().max() > 1e-6
    torch.testing.assert_close(last_of(network, 2 * image), 2 * once)
    assert not any("Norm" in type(module).__name__ for module in network.modules())
    assert not list(network.buffers())


# ---- the output


@pytest.mark.parametrize("base", [None, 0])
def test_no_output_is_below_0(base):
    network, image = stirred(VNet(2, 3, base=base)), slices() - 0.7
    wanted = last_of(network, image) + (0 if base is None else image[:, base : base + 1])
    with torch.no_grad():
        network.last.bias.sub_(wanted.median())
    outputs = network(image)["image"]
    assert outputs.min() == 0
    # Half of it was below the median.
    assert (outputs > 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(outputs, (wanted - wanted.median()).clamp(min=0))


@pytest.mark.parametrize(("channels", "base"), [(1, 0), (2, 0), (2, 1)])
def test_a_new_network_returns_its_base(channels, base):
    image = slices(channels) - 0.2
    network = VNet(channels, 3, base=base)
    torch.testing.assert_close(network(image)["image"], image[:, base : base + 1], rtol=0, atol=0)
    below = image - 0.5
    wanted = below[:, base : base + 1].clamp(min=0)
    torch.testing.assert_close(network(below)["image"], wanted, rtol=0, atol=0)


def test_the_base_is_added_and_nothing_else_changes():
    """The same weights with and without, at a bias with which nothing is cut off."""
    with_base, without, image = stirred(VNet(2, 3, base=1)), VNet(2, 3), slices()
    with torch.no_grad():
        with_base.last.bias.fill_(10.0)
    without.load_state_dict(with_base.state_dict())
    plain = without(image)["image"]
    assert plain.min() > 0
    torch.testing.assert_close(with_base(image)["image"] - plain, image[:, 1:], rtol=0, atol=1e-5)


# ---- learning


@pytest.mark.parametrize("base", [None, 1])
def test_every_parameter_gets_a_gradient(base):
    network = stirred(VNet(2, 3, base=base))
    network(slices())["image"].square().mean().backward()
    for name, weight in network.named_parameters():
        assert weight.grad.abs().max() > 0, name


def test_a_network_that_starts_with_its_base_learns_from_its_second_step_on():
    """The last layer is 0 at first, and all before it waits for that."""
    network, image = VNet(2, 3, base=1), slices()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    learnt, losses = [], []
    for _ in range(12):
        loss = (network(image)["image"] - 0.5 * image[:, :1]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        gradients = {name: weight.grad.abs().max() for name, weight in network.named_parameters()}
        learnt.append({name for name, gradient in gradients.items() if gradient > 0})
        losses.append(loss.item())
        optimiser.step()
    assert learnt[0] == {"last.weight", "last.bias"}
    assert learnt[1] == set(gradients)
    assert losses[-1] < 0.7 * losses[0]


# ---- by name


@pytest.mark.parametrize("arguments", [{}, {"width": 2}, {"width": 2, "base": 1}])
def test_it_is_built_by_name(arguments):
    network = build_network("vnet", {"in_channels": 2, **arguments})
    assert isinstance(network, VNet)
    assert network.base == arguments.get("base")
    # The paper's width is the default.
    assert network.last.in_channels == arguments.get("width", 12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "in_channels"),
        ({"in_channels": 2, "widht": 4}, "widht"),
        ({"in_channels": 2, "width": "wide"}, "vnet"),
        ({"in_channels": 2, "width": -1}, "vnet"),
        ({"in_channels": -1}, "vnet"),
    ],
)
def test_what_cannot_be_built_is_a_wrong_request(arguments, words):
    with pytest.raises(RequestError, match=words):
        build_network("vnet", arguments)


def test_weights_come_back_from_a_bundle(tmp_path):
    pytest.importorskip("safetensors")
    settings = {"name": "vnet", "arguments": {"in_channels": 2, "width": 3, "base": 1}}
    network, image = stirred(build_network(**settings)), slices()
    with torch.no_grad():
        # What half precision keeps: then both networks must give the same bits.
        for weight in network.parameters():
            weight.copy_(weight.half().float())
    card = {
        **{"name": "toy", "version": "1.0", "oldest_library_version": "0.1.0", "task": "full"},
        **{"method": "toy", "network": settings, "inputs": {"pre": "T1", "post": "T1"}},
        **{"normalisation": "low_dose", "metrics": {}, "limits": "A toy.", "licence": "None"},
        "trained_on_virtual_patients": True,
        "training": {
            **{"data": "none", "data_licence": "none", "commit": "0", "command": "none"},
            **{"seed": 0, "steps": 0, "hours": 0, "hardware": "none"},
        },
    }
    bundle = save_bundle(tmp_path / "toy", network.state_dict(), card, "L")
    again = build_network(**bundle.metadata["network"])
    assert not torch.equal(again(image)["image"], network(image)["image"])
    again.load_state_dict(load_state(bundle))
    torch.testing.assert_close(again(image)["image"], network(image)["image"], rtol=0, atol=0)


def test_the_output_has_a_name_as_wrappers_expect():
    network, image = stirred(VNet(2, 2)).eval(), slices()
    assert set(network(image)) == {"image"}
    wanted = (network(image)["image"] + network(image.flip(-1))["image"].flip(-1)) / 2
    torch.testing.assert_close(Mirrored(network)(image)["image"], wanted)


@pytest.mark.parametrize("seed", range(20))
def test_a_new_network_without_base_can_learn_everywhere(seed):
    torch.manual_seed(seed)
    assert (VNet(1, 6)(0.3 * slices(1))["image"] > 0).all()


@pytest.mark.parametrize("base", [-1, 2])
def test_a_base_that_is_no_channel_is_refused(base):
    with pytest.raises(RequestError, match=f"base is channel {base}"):
        build_network("vnet", {"in_channels": 2, "base": base})


@pytest.mark.parametrize("base", [None, 0])
def test_an_image_below_zero_is_learnt_from_and_shown_as_zero(base):
    network, image = VNet(1, 2, base=base), slices(1, 32, 32)
    torch.nn.init.constant_(network.last.bias, -20.0)
    for training in (True, False):
        network.train(training).zero_grad()
        made = network(image)["image"]
        assert not made.any()
        (1 - made).abs().mean().backward()
        assert (network.last.bias.grad != 0) == training
