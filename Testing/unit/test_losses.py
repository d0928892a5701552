"""The losses of SPHERE's appendix B: by hand, at their limits, and against other code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from skimage.transform import downscale_local_mean

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.losses import (
    discriminator_loss,
    generator_loss,
    hyperintensity_penalty,
    l1_loss,
    ms_ssim_loss,
    perceptual_loss,
    physics_penalty,
    ssim_loss,
    uptake_loss,
)
from ContrastSynthLib.losses.uptake import PEAK_MMOL_PER_L
from ContrastSynthLib.networks.features import TissueFeatures
from ContrastSynthLib.physics.constants import (
    DEFAULT_FLIP_ANGLE_DEG,
    DEFAULT_REPETITION_TIME_S,
    MEAN_BRAIN_T1_S,
)
from ContrastSynthLib.physics.relaxivity import RELAXIVITY_PER_MMOL_S

SHAPE = (2, 1, 32, 32)


def random_images(seed: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def smooth_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two images alike enough that their SSIM is neither 0 nor 1, (32, 32)."""
    rows, cols = np.mgrid[:32, :32] / 31
    first = 1 + np.sin(5 * rows) * np.cos(3 * cols)
    noise = np.random.default_rng(3).normal(0, 0.15, first.shape)
    return first, 0.8 * first + 0.1 + noise


# ---- eq. 29 without the adversarial term


def test_l1_is_the_mean_absolute_difference():
    first = torch.tensor([[[[1.0, -2.0], [0.5, 0.0]]]])
    second = torch.tensor([[[[0.0, 1.0], [0.5, 2.0]]]])
    assert float(l1_loss(first, second)) == (1 + 3 + 0 + 2) / 4
    assert float(l1_loss(first, first)) == 0


def test_ssim_is_that_of_scikit_image_inside():
    """float32 against float64: 1e-4. The window is 11 wide, so 5 pixels at each edge are left."""
    first, second = smooth_pair()
    for data_range in (1.0, 2.0):
        _, local = structural_similarity(
            first,
            second,
            data_range=data_range,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        images = [torch.tensor(i, dtype=torch.float32)[None, None] for i in (second, first)]
        loss = float(ssim_loss(*images, data_range=data_range))
        assert 0.05 < loss < 0.95
        assert loss == pytest.approx(1 - local[5:-5, 5:-5].mean(), abs=1e-4)


def test_ssim_is_zero_for_equal_images_and_at_the_constants_for_flat_ones():
    image = random_images(1).float()
    assert float(ssim_loss(image, image, data_range=2.0)) == pytest.approx(0, abs=1e-5)
    # Without variance, only the first factor of eq. 29 is left: but float32 sees 1e-6 of one.
    low, high = (torch.full((1, 1, 16, 16), value) for value in (0.5, 1.5))
    c1 = (0.01 * 2.0) ** 2
    wanted = 1 - (2 * 0.5 * 1.5 + c1) / (0.5**2 + 1.5**2 + c1)
    assert float(ssim_loss(low, high, data_range=2.0)) == pytest.approx(wanted, abs=1e-3)


def test_multi_scale_ssim_is_the_product_over_scales():
    """Contrast and structure at five scales, luminance at the coarsest: with exponents of 2003."""
    rng = np.random.default_rng(4)
    first = gaussian_filter(rng.random((192, 192)), 2)
    second = first + 0.05 * gaussian_filter(rng.random((192, 192)), 1)
    images = [torch.tensor(i, dtype=torch.float32)[None, None] for i in (second, first)]
    wanted, pair = 1.0, (first, second)
    exponents = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for exponent in exponents:
        last = exponent is exponents[-1]
        _, local = structural_similarity(
            *pair,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
            K1=0.01 if last else 1e4,  # a large constant leaves luminance out
        )
        wanted *= local[5:-5, 5:-5].mean() ** exponent
        pair = [downscale_local_mean(image, (2, 2)) for image in pair]
    made = images[0].requires_grad_()
    loss = ms_ssim_loss(made, images[1], data_range=1.0)
    assert float(loss) == pytest.approx(1 - wanted, abs=1e-4)
    assert 0.001 < float(loss) < 0.9
    loss.backward()
    assert made.grad.isfinite().all()
    with pytest.raises(ValueError, match="larger than 160"):
        ms_ssim_loss(images[0][..., :96, :96], images[1][..., :96, :96], data_range=1.0)


def test_perceptual_sums_the_mean_squares_of_each_scale():
    def features(image):
        return [image, 3 * image[..., ::2, ::2]]

    first, second = random_images(2), random_images(3)
    difference = (first - second).numpy()
    wanted = (difference**2).mean() + ((3 * difference[..., ::2, ::2]) ** 2).mean()
    assert float(perceptual_loss(first, second, features)) == pytest.approx(wanted, rel=1e-9)


def test_perceptual_teaches_the_image_and_not_the_features():
    torch.manual_seed(0)
    features = TissueFeatures(width=4).eval().requires_grad_(False)
    first, second = (random_images(seed).float().requires_grad_() for seed in (4, 5))
    assert perceptual_loss(first, first, features).item() == 0
    loss = perceptual_loss(first, second, features)
    assert loss.item() > 0
    loss.backward()
    assert float(first.grad.abs().sum()) > 0
    assert second.grad is None
    assert all(weight.grad is None for weight in features.parameters())


# ---- eq. 29 and 30, the adversarial game


def log_sigmoid(values: torch.Tensor) -> np.ndarray:
    return np.log(1 / (1 + np.exp(-values.numpy().astype(np.float64))))


def test_adversarial_losses_are_logarithms_of_the_sigmoid():
    real, synthetic = (8 * random_images(seed) - 4 for seed in (6, 7))
    generated = -log_sigmoid(synthetic).mean()
    assert float(generator_loss(synthetic)) == pytest.approx(generated, rel=1e-9)
    # 1 - sigmoid(x) is sigmoid(-x).
    expected = -log_sigmoid(real).mean() - log_sigmoid(-synthetic).mean()
    assert float(discriminator_loss(real, synthetic)) == pytest.approx(expected, rel=1e-9)
    undecided = torch.zeros(3)
    assert float(generator_loss(undecided)) == pytest.approx(math.log(2))
    assert float(discriminator_loss(undecided, undecided)) == pytest.approx(2 * math.log(2))


def test_adversarial_losses_stay_finite_and_keep_a_gradient_at_large_scores():
    sure, fooled = torch.tensor([200.0]), torch.tensor([-200.0], requires_grad=True)
    assert float(generator_loss(sure)) == pytest.approx(0, abs=1e-30)
    assert float(discriminator_loss(sure, -sure)) == pytest.approx(0, abs=1e-30)
    assert float(discriminator_loss(-sure, sure)) == pytest.approx(400)
    loss = generator_loss(fooled)
    assert loss.item() == pytest.approx(200)
    loss.backward()
    assert fooled.grad.item() == pytest.approx(-1)


# ---- eq. 32 and 33


def test_uptake_loss_is_the_cross_entropy_of_the_mask():
    mask = torch.tensor([[[[0.9, 0.2], [0.5, 0.6]]]], dtype=torch.float64)
    truth = torch.tensor([[[[1.0, 0.0], [1.0, 0.25]]]], dtype=torch.float64)
    terms = (
        *(-math.log(0.9), -math.log(0.8), -math.log(0.5)),
        -0.25 * math.log(0.6) - 0.75 * math.log(0.4),
    )
    found = uptake_loss(torch.logit(mask), truth)
    assert float(found) == pytest.approx(sum(terms) / 4, rel=1e-9)
    far = torch.tensor([[[[-200.0, 200.0]]]])
    assert float(uptake_loss(far, torch.tensor([[[[1.0, 0.0]]]]))) == pytest.approx(200)


def test_the_hyperintensity_penalty_is_zero_only_where_both_masks_agree():
    mask = random_images(8)
    assert float(hyperintensity_penalty(mask, mask.clone())) == 0
    other = mask.clone()
    other[0, 0, 3, 4] += 0.5
    assert float(hyperintensity_penalty(mask, other)) == pytest.approx(0.25 / mask.numel())


def spgr(r1_per_s: np.ndarray, rho: float) -> np.ndarray:
    angle = math.radians(DEFAULT_FLIP_ANGLE_DEG)
    decay = np.exp(-DEFAULT_REPETITION_TIME_S * r1_per_s)
    return rho * math.sin(angle) * (1 - decay) / (1 - math.cos(angle) * decay)


def as_printed(post: np.ndarray, mask: np.ndarray, rho: float) -> np.ndarray:
    """Eq. 11, term by term."""
    angle = math.radians(DEFAULT_FLIP_ANGLE_DEG)
    rate = RELAXIVITY_PER_MMOL_S["gadoterate"][3.0] * PEAK_MMOL_PER_L
    grown = np.exp(DEFAULT_REPETITION_TIME_S * rate * mask)
    sine, cosine = math.sin(angle), math.cos(angle)
    above = post * grown - post * cosine - rho * grown * sine + rho * sine
    below = post * grown * cosine - post * cosine - rho * grown * math.sin(2 * angle) / 2
    return rho * sine * above / (below + rho * sine)


@pytest.fixture
def enhanced() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pre, post (in means of the brain) and mask of tissue that eq. 11 solves."""
    rho = 1 / float(spgr(np.array(1 / MEAN_BRAIN_T1_S), 1.0))
    rng = np.random.default_rng(9)
    r1_pre, mask = rng.uniform(0.5, 1.5, SHAPE), rng.uniform(0, 1, SHAPE)
    mask[:, :, :4] = 0
    rate = RELAXIVITY_PER_MMOL_S["gadoterate"][3.0] * PEAK_MMOL_PER_L
    post = spgr(r1_pre + rate * mask, rho)
    pre = as_printed(post, mask, rho)
    # Eq. 11 undoes eq. 1, 2 and 7, and does nothing without agent.
    np.testing.assert_allclose(pre, spgr(r1_pre, rho), rtol=1e-9)
    np.testing.assert_allclose(pre[:, :, :4], post[:, :, :4], rtol=1e-12)
    return pre, post, mask


def test_the_physics_penalty_is_the_distance_from_equation_11(enhanced):
    pre, post, mask = map(torch.from_numpy, enhanced)
    assert float(physics_penalty(pre, post, mask)) < 1e-16
    off = random_images(10)
    found = float(physics_penalty(pre + off, post, mask))
    assert found == pytest.approx(float((off**2).mean()), rel=1e-6)
    single = [tensor.float() for tensor in (pre, post, mask)]
    assert float(physics_penalty(*single)) < 1e-9


def test_the_physics_penalty_teaches_the_image_and_the_mask(enhanced):
    pre, post, mask = (torch.from_numpy(image) for image in enhanced)
    pre = (pre + 0.1).requires_grad_()
    mask.requires_grad_()
    physics_penalty(pre, post, mask).backward()
    assert float(pre.grad.abs().min()) > 0
    # Less is expected where more was taken up, so a pre that is too bright asks for less.
    assert float(mask.grad.min()) > 0


def test_the_physics_penalty_is_finite_for_air_and_for_what_no_tissue_reaches():
    post = torch.tensor([[[[0.0, 1e-6, 50.0, 1.0]]]], requires_grad=True)
    mask = torch.tensor([[[[1.0, 1.0, 1.0, 1.0]]]], requires_grad=True)
    loss = physics_penalty(torch.ones(1, 1, 1, 4), post, mask)
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(mask.grad.isfinite().all())
    assert bool(post.grad.isfinite().all())
