"""Generator and discriminator of the low-dose GAN: shapes, condition, locality, gradients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from ContrastSynthLib.networks.lowdose_gan import (
    EMBEDDED,
    ConditionalResidualBlock,
    LocalAttention,
    LowDoseDiscriminator,
    LowDoseGenerator,
    condition,
)

SIZE = (16, 24, 20)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def volumes(channels=3, size=SIZE):
    return torch.randn(2, channels, *size)


def conditions(dose=(0.1, 0.33), field=(1.5, 3.0)):
    return condition(torch.tensor(dose), torch.tensor(field))


def test_the_condition_is_the_dose_and_the_field_from_minus_one_to_one():
    assert torch.allclose(conditions(), torch.tensor([[0.1, -1.0], [0.33, 1.0]]))


def test_every_scale_but_the_coarsest_has_a_head():
    made = LowDoseGenerator(4)(volumes(), conditions())
    sizes = [tuple(head.shape) for head in made["heads"]]
    assert sizes == [(2, 1, 4, 6, 5), (2, 1, 8, 12, 10), (2, 1, *SIZE)]
    assert made["residual"] is made["heads"][-1]


@pytest.mark.parametrize("size", [(16, 16, 16), (13, 18, 11), (8, 9, 10)])
def test_sides_need_no_multiple(size):
    assert LowDoseGenerator(4)(volumes(3, size), conditions())["residual"].shape[2:] == size
    assert LowDoseDiscriminator(4)(volumes(3, size), conditions()).shape == (2,)


def test_it_may_begin_with_the_noise_and_the_linear_interpolation():
    image, asked = volumes(), conditions(dose=(0.1, 0.4))
    made = LowDoseGenerator(4, interpolated=True)(image, asked)
    difference = image[:, 2:] - image[:, 1:2]
    wanted = image[:, :1] + torch.stack([0.1 * difference[0], 0.4 * difference[1]])
    torch.testing.assert_close(made["residual"], wanted)
    pooled = torch.nn.functional.avg_pool3d(wanted, 4)
    torch.testing.assert_close(made["heads"][0], pooled)
    other = LowDoseGenerator(4)(image, asked)["residual"]
    assert not torch.allclose(other, wanted, atol=0.1)


def test_the_paper_has_twelve_features_and_attention_on_coarser_scales():
    network = LowDoseGenerator()
    assert [last.in_channels for last in network.last] == [48, 24, 12]
    found = [module for module in network.modules() if isinstance(module, LocalAttention)]
    assert [attention.asked.in_channels for attention in found] == [24, 48, 96, 48, 24]
    assert not [m for m in LowDoseDiscriminator().modules() if isinstance(m, LocalAttention)]
    without = LowDoseGenerator(attention=False)
    assert not [module for module in without.modules() if isinstance(module, LocalAttention)]


@pytest.mark.parametrize("build", [LowDoseGenerator, LowDoseDiscriminator])
def test_dose_field_and_every_channel_are_seen(build):
    network = build(4)
    given = volumes()

    def answer(image, told):
        made = network(image, told)
        return made["residual"] if isinstance(made, dict) else made

    plain = answer(given, conditions())
    assert not torch.allclose(answer(given, conditions(dose=(0.3, 0.33)))[0], plain[0])
    assert not torch.allclose(answer(given, conditions(field=(3.0, 3.0)))[0], plain[0])
    assert torch.allclose(answer(given, conditions(dose=(0.3, 0.33)))[1], plain[1], atol=1e-5)
    for channel in range(3):
        other = given.clone()
        other[:, channel] += 1
        assert not torch.allclose(answer(other, conditions()), plain)


def test_attention_reaches_the_nearest_neighbours_alone():
    attention = LocalAttention(8)
    given = torch.randn(1, 8, 9, 9, 9, requires_grad=True)
    attention(given)[0, :, 4, 4, 4].sum().backward()
    reached = given.grad[0].abs().sum(dim=0) > 0
    assert reached[3:6, 3:6, 3:6].all()
    assert reached.sum() == 27


def test_attention_is_a_mean_of_the_neighbours_by_their_likeness():
    attention = LocalAttention(4)
    constant = torch.full((1, 4, 5, 5, 5), 0.7)
    found = attention(constant)
    value = attention.seen(constant).chunk(2, dim=1)[1]
    assert torch.allclose(found, constant + attention.joined(value), atol=1e-6)
    with pytest.raises(ValueError, match="6 features cannot be shared by 4 heads"):
        LocalAttention(6)


def test_a_block_without_convolutions_is_its_shortcut():
    block = ConditionalResidualBlock(3, 3)
    torch.nn.init.zeros_(block.second.weight)
    torch.nn.init.zeros_(block.second.bias)
    given = volumes()
    assert torch.equal(block(given, torch.zeros(2, EMBEDDED)), given)


def test_the_embedding_of_the_discriminator_is_its_own_or_shared():
    generator = LowDoseGenerator(4)
    assert LowDoseDiscriminator(4).embedding is not generator.embedding
    shared = LowDoseDiscriminator(4, generator.embedding)
    assert shared.embedding is generator.embedding


def test_a_gradient_penalty_can_be_differentiated():
    discriminator = LowDoseDiscriminator(4)
    image, told = volumes().requires_grad_(), conditions().requires_grad_()
    scores = discriminator(image, told).sum()
    of_image, of_condition = torch.autograd.grad(scores, (image, told), create_graph=True)
    (of_image.square().sum() + of_condition.square().sum()).backward()
    weights = discriminator.downs[0].block.first.weight
    assert torch.isfinite(weights.grad).all()
    assert weights.grad.any()
    # The last block's part in the image's gradient too.
    assert discriminator.downs[-1].block.second.weight.grad.any()
