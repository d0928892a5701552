"""LIP-CAR and the direct networks on a virtual patient that no weights have seen."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.inversion.alpha import NOISIEST, alpha_for_noise, per_pixel, rising_alpha
from ContrastSynthLib.metrics import mae, ssim
from ContrastSynthLib.phantom.brain.slices import brain_slabs
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume
from ContrastSynthLib.weights.bundles import find_bundle

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

HELD_OUT_SEED = 3_000_000
SLICES = slice(13, 19)
DOSE = 0.25
NETWORKS = ("h2l", "l2h", "ph2l", "pl2h")
PHYSICS = {"forward": "physics", "prior": "gentv", "guess": "pre"}
FEW = {"iterations": 12}


@pytest.fixture(scope="module")
def patient():
    """Return scans and brain of a virtual patient, and the full dose with the gain of ``low``."""
    roles = ("pre", "low", "post", "brain")
    slab = next(brain_slabs(HELD_OUT_SEED, roles=roles, lesions=2, doses=(DOSE,), corruption=None))
    arrays = {role: np.ascontiguousarray(slab[role][SLICES]) for role in roles}
    grid = Grid(arrays["low"].shape[::-1])
    brain = arrays["brain"] > 0
    arrays["full"] = arrays["post"] / gain_field(arrays["low"], arrays["post"], brain, (1, 1, 1))
    return {role: Volume(array.astype(np.float32), grid) for role, array in arrays.items()}


def request(patient, method="lip_car", roles=("low", "pre", "mask"), **options):
    given = {**patient, "mask": patient["brain"]}
    return Request(method, {role: given[role] for role in roles}, **options)


def full_dose(patient, parameters, **options):
    return run(request(patient, parameters=parameters, **options)).outputs["post"].array


def scaled_difference(patient):
    brain = patient["brain"].array > 0
    low, pre = patient["low"].array, patient["pre"].array
    pre = pre / gain_field(low, pre, brain, (1, 1, 1))
    return pre, np.maximum(pre + (low - pre) / DOSE, 0)


def agent(patient):
    brain, (pre, _) = patient["brain"].array > 0, scaled_difference(patient)
    return brain & (patient["full"].array - pre > 0.15 * np.median(pre[brain]))


# ---- what it gains


def test_the_signal_equation_gives_back_what_a_difference_cannot(patient):
    """Settings, noise and gain of the virtual scanner are not passed to the solver."""
    where, truth = agent(patient), patient["full"].array
    pre, difference = scaled_difference(patient)
    found = mae(truth, full_dose(patient, PHYSICS), mask=where)
    assert found < 0.8 * mae(truth, difference, mask=where)
    assert found < 0.6 * mae(truth, patient["low"].array, mask=where)
    assert found < 0.5 * mae(truth, pre, mask=where)


def gains(patient, **options):
    """Return the SSIM of a network's full dose, and how much it is above that of the low dose."""
    brain = patient["brain"].array > 0
    scale = 3 * float(np.median(patient["low"].array[brain]))
    images = [run(request(patient, "direct_low_to_full", **options)).outputs["post"].array]
    images.append(patient["low"].array)
    truth = patient["full"].array / scale * brain
    return [
        ssim(truth, image / scale * brain, data_range=1.0, mask=brain, dimensions=2)
        for image in images
    ]


def check_direct(patient, network, **options):
    made, given = gains(patient, parameters={"network": network}, **options)
    assert made > given + 0.01


@pytest.mark.parametrize("network", ["l2h", "pl2h"])
def test_the_direct_networks_come_nearer_than_the_low_dose(patient, network):
    check_direct(patient, network)


@pytest.mark.parametrize("network", ["l2h", "pl2h"])
def test_random_weights_do_not(patient, network, random_weights):
    with pytest.raises(AssertionError):
        check_direct(patient, network, weights=str(random_weights(network).folder))


MOST_LEFT = {"ph2l": 0.42, "h2l": 0.9}
"""Of the error of the low dose, where agent went."""
MOST_LEFT_BY_OPERATOR = {"ph2l": 0.35, "h2l": 0.8}
"""Of the difference between full and low dose, there."""
MOST_LEFT_IN_BRAIN = {"ph2l": 0.4, "h2l": 0.9}
"""The same in the brain, where a random network is far off: in the uptake one may be near."""


@pytest.mark.parametrize("forward", MOST_LEFT)
def test_trained_operators_invert_the_low_dose(patient, forward):
    where, truth = agent(patient), patient["full"].array
    found = full_dose(patient, {"forward": forward, "prior": "tv", **FEW})
    left = mae(truth, found, mask=where) / mae(truth, patient["low"].array, mask=where)
    assert left < MOST_LEFT[forward]


def check_operator(patient, forward, bundle):
    """The low dose that the network makes of the true full one is the low dose."""
    from ContrastSynthLib.inference.networks import load_network

    where, brain = agent(patient), patient["brain"].array > 0
    low, full = patient["low"].array, patient["full"].array
    unit = 3 * float(np.median(low[brain]))
    seen = [full] if forward == "h2l" else [scaled_difference(patient)[0], full]
    channels = torch.from_numpy(np.stack([i / unit * brain for i in seen], axis=1).astype("f4"))
    with torch.inference_mode():
        made = load_network(bundle).eval()(channels)["image"][:, 0].numpy() * unit
    for most, region in ((MOST_LEFT_BY_OPERATOR, where), (MOST_LEFT_IN_BRAIN, brain)):
        assert mae(low, made, mask=region) < most[forward] * mae(low, full, mask=region)


@pytest.mark.parametrize("forward", MOST_LEFT)
def test_trained_operators_know_the_low_dose_and_random_ones_do_not(
    patient, forward, random_weights
):
    check_operator(patient, forward, find_bundle(forward, None))
    random = random_weights(forward)
    with pytest.raises(AssertionError):
        check_operator(patient, forward, random)


# ---- what it takes


def test_without_a_pre_scan_h2l_is_what_remains(patient):
    without = {"roles": ("low", "mask")}
    result = run(request(patient, parameters={"forward": "h2l", "prior": "tv", **FEW}, **without))
    assert result.provenance["record"]["gain_pre_over_low"] is None
    for wrong in ({"forward": "ph2l"}, {"forward": "h2l", "guess": "pre"}):
        with pytest.raises(RequestError, match="forward=h2l --set prior=tv"):
            run(request(patient, parameters=wrong, **without))
    with pytest.raises(RequestError, match="network=l2h"):
        run(request(patient, "direct_low_to_full", **without))


def test_the_physics_needs_no_weights(patient, monkeypatch):
    def refuse(*given):
        raise AssertionError("weights were looked for")

    monkeypatch.setattr("ContrastSynthLib.registry.bundles.look_up", refuse)
    result = run(request(patient, parameters={**PHYSICS, **FEW}))
    assert result.provenance["weights"] == []


def test_a_guess_of_the_users_is_stayed_close_to(patient):
    """With a prior that outweighs the data, what differs from the guess is one level."""
    settings = {"forward": "physics", "prior": "gentv", "guess": "given", "alpha": 1.0}
    given = {**patient, "guess": patient["full"]}
    roles = ("low", "pre", "mask", "guess")
    found = run(request(given, roles=roles, parameters=settings)).outputs["post"].array
    brain = patient["brain"].array > 0
    assert mae(patient["full"].array, found, mask=brain) < 0.02 * found[brain].mean()
    with pytest.raises(RequestError, match="--in guess=FILE"):
        run(request(patient, parameters=settings))


def test_a_scan_in_other_units_gives_the_same_in_those(patient):
    other = {**patient, "low": replace(patient["low"], array=patient["low"].array * 0.01)}
    here, there = (full_dose(each, {**PHYSICS, **FEW}) for each in (patient, other))
    np.testing.assert_allclose(there, here * 0.01, rtol=0, atol=1e-3 * here.max() * 0.01)


def test_nothing_changes_outside_of_the_mask(patient):
    low = replace(patient["low"], array=patient["low"].array + 7)
    found = full_dose({**patient, "low": low}, {**PHYSICS, **FEW})
    outside = patient["brain"].array == 0
    np.testing.assert_array_equal(found[outside], low.array[outside])


def test_alpha_follows_the_noise(patient):
    alphas = [alpha_for_noise(sigma, dose=DOSE) for sigma in (0.0, 0.01, 0.02, 0.05)]
    assert alphas == sorted(alphas)
    assert alphas[2] == pytest.approx(2 * alphas[1])
    found = []
    for sigma in (0.0, 0.05):
        noise = np.random.default_rng(0).normal(0, sigma, patient["low"].array.shape)
        level = float(np.median(patient["low"].array[patient["brain"].array > 0]))
        low = replace(patient["low"], array=(patient["low"].array + level * noise).astype("f4"))
        result = run(request({**patient, "low": low}, parameters={**PHYSICS, **FEW}))
        found.append(result.provenance["record"])
    assert found[1]["noise_sigma"] > 1.3 * found[0]["noise_sigma"]
    assert found[1]["alpha_mm"] > 1.3 * found[0]["alpha_mm"]


def test_alpha_rises_as_the_paper_spaces_it():
    steps = [rising_alpha(share * NOISIEST, 3e-3, 1e-2) for share in (0, 0.25, 0.5, 0.75, 1)]
    np.testing.assert_allclose(steps, np.geomspace(3e-3, 1e-2, 5))
    assert rising_alpha(1.0, 3e-3, 1e-2) == pytest.approx(1e-2)


def test_alpha_is_also_told_as_the_paper_has_it(patient):
    """The paper sums over pixels what is here a mean of differences per mm."""
    assert per_pixel(6e-3, (1.0, 1.0)) == 6e-3
    assert per_pixel(6e-3, (2.0, 0.5)) == pytest.approx(6e-3)
    assert per_pixel(6e-3, (0.5, 0.5)) == pytest.approx(12e-3)
    changed = {"alpha": 6e-3, "alpha_at_most": 1e-2}
    record = run(request(patient, parameters={**PHYSICS, **FEW, **changed})).provenance["record"]
    assert record["alpha_mm"] == pytest.approx(rising_alpha(record["noise_sigma"], 6e-3, 1e-2))
    assert 6e-3 < record["alpha_mm"] < 1e-2
    assert record["alpha_pixels"] == pytest.approx(record["alpha_mm"], rel=0.5)


# ---- what it reports


def test_the_history_is_recorded_and_any_iterate_can_be_kept(patient):
    whole = run(request(patient, parameters={**PHYSICS, **FEW, "tolerance": 0.0}))
    history = whole.provenance["record"]["history"]
    assert history["iteration"] == list(range(1, 13))
    assert history["objective"][-1] < history["objective"][0]
    some = run(request(patient, parameters={**PHYSICS, **FEW, "tolerance": 0.0, "iterate": 3}))
    kept = some.provenance["record"]["history"]
    assert kept["objective"] == history["objective"][:3]
    assert not np.array_equal(some.outputs["post"].array, whole.outputs["post"].array)


def test_each_iteration_is_measured_before_its_progress(patient):
    reported = []
    result = run(
        request(patient, parameters={**PHYSICS, **FEW}),
        lambda fraction, message: reported.append(message),
        reported.append,
    )
    measures = [one for one in reported if not isinstance(one, str)]
    history = result.provenance["record"]["history"]
    assert {name: [one[name] for one in measures] for name in history} == history
    for one, message in pairwise(reported):
        if not isinstance(one, str):
            assert message.startswith(f"Iteration {one['iteration']},")


def test_it_can_be_cancelled_at_every_iteration(patient):
    class Cancelled(Exception):
        pass

    reported = []

    def progress(fraction, message):
        reported.append((fraction, message))
        if "Iteration 3" in message:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(request(patient, parameters=PHYSICS), progress)
    assert [m for _, m in reported if m.startswith("Iteration")][-1].startswith(
        "Iteration 3, objective"
    )
    fractions = [fraction for fraction, _ in reported]
    assert fractions == sorted(fractions)


@pytest.mark.parametrize(
    "preset",
    [
        *("paper", "paper_ph2l_tv", "paper_h2l_tv", "fast", "physics"),
        *("authors_code", "paper_h2l_tv_rising"),
    ],
)
def test_presets_run(patient, preset):
    result = run(request(patient, preset=preset, parameters={"iterations": 2}))
    assert len(result.provenance["record"]["history"]["iteration"]) == 2


def test_the_command_line_shows_the_history(patient, tmp_path, capsys):
    for role in ("low", "pre", "brain"):
        write_volume(patient[role], tmp_path / f"{role}.nrrd")
    roles = {"low": "low", "pre": "pre", "mask": "brain"}
    inputs = [a for r, f in roles.items() for a in ("--in", f"{r}={tmp_path / f}.nrrd")]
    out = tmp_path / "out"
    run_it = ["run", "lip_car", *inputs, "--out", str(out), "--preset", "physics"]
    assert main([*run_it, "--set", "iterations=4", "--progress", "none"]) == 0
    capsys.readouterr()
    assert main(["history", str(out), "--plot", str(tmp_path / "h.png"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((out / "provenance.json").read_text("utf-8"))["record"]
    assert printed["history"] == written["history"]
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    assert main(["history", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(written["history"])
    assert len(lines) == len(written["history"]["iteration"]) + 2
    assert main(["history", str(tmp_path)]) == 2
    assert "provenance" in capsys.readouterr().err


@pytest.mark.parametrize("network", NETWORKS)
def test_the_model_card_states_how_the_weights_were_made(network):
    card = find_bundle(network, None).metadata
    assert card["trained_on_virtual_patients"] is True
    assert card["metrics"], "the figures of the card are missing"
    assert card["dose"] == DOSE
    assert '"/' not in json.dumps(card), "a folder of the machine that trained them"


def test_too_little_memory_takes_fewer_slices_then_the_cpu(patient, monkeypatch):
    from ContrastSynthLib.inversion import solvers

    real, tried = solvers.solve, []

    def solve(problem, *given, **options):
        tried.append(problem.batch)
        if len(tried) < 4:
            raise MemoryError
        return real(problem, *given, **options)

    monkeypatch.setattr(solvers, "solve", solve)
    result = run(request(patient, parameters={**PHYSICS, "iterations": 2}))
    assert tried == [16, 8, 4, 2]
    assert result.provenance["record"]["memory"]["batch"] == 2
    assert sum("did not suffice" in warning for warning in result.warnings) == 3
    # With less memory the answer is the same.
    other = run(request(patient, parameters={**PHYSICS, "iterations": 2}))
    np.testing.assert_allclose(
        result.outputs["post"].array, other.outputs["post"].array, rtol=1e-3, atol=1e-3
    )

    def never(*given, **options):
        raise MemoryError

    monkeypatch.setattr(solvers, "solve", never)
    with pytest.raises(RequestError, match="not even on the CPU"):
        run(request(patient, parameters={**PHYSICS, "iterations": 2}))


def test_what_does_not_fit_the_scan_gives_a_warning(patient):
    settings = {"forward": "h2l", "prior": "tv", "iterations": 1}
    right, wrong = (
        run(request(patient, parameters={**settings, "dose": dose})).warnings
        for dose in (DOSE, 0.5)
    )
    assert not any("were trained on a low dose" in warning for warning in right)
    assert any("a low dose of 0.25" in w and "this scan is 0.5" in w for w in wrong)
    acquisition = replace(patient["low"].acquisition, inversion_time_s=0.9)
    mprage = {**patient, "low": replace(patient["low"], acquisition=acquisition)}
    warnings = run(request(mprage, parameters={**PHYSICS, "iterations": 1})).warnings
    assert any("inversion pulse" in warning for warning in warnings)
