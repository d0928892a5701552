"""The table of run times of SPHERE and its baselines."""

import csv
import importlib
import time
from functools import partial

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("lightning_fabric", reason="the training's packages are not installed")


@pytest.fixture
def runtime(training_path):
    return importlib.import_module("runtime")


class Slow(torch.nn.Module):
    """Takes 20 ms for each image; counts what it was given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        time.sleep(0.02 * len(images))
        return {"pre": images}


def test_the_time_is_that_of_one_image_without_the_first(runtime):
    network = Slow()
    found = runtime.seconds_an_image(network, torch.rand(3, 1, 4, 4), half=False)
    assert network.seen == [1, 3]
    assert 0.02 <= found < 0.04


def test_half_precision_is_what_the_network_gets(runtime):
    seen = []

    class Layer(torch.nn.Module):
        def forward(self, images):
            seen.append(torch.nn.functional.linear(images, torch.eye(4)).dtype)

    for half in (False, True):
        runtime.seconds_an_image(Layer(), torch.rand(1, 1, 4, 4), half=half)
    assert seen == [torch.float32] * 2 + [torch.bfloat16] * 2


def test_every_round_of_every_network_is_kept(runtime, tmp_path, capsys):
    words = ["--only", "unet", "--size", "32", "--batch", "1", "--repeats", "2", "--width", "2"]
    assert runtime.main([*words, "--csv", str(tmp_path / "runtime.csv")]) == 0
    with (tmp_path / "runtime.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    rows = ["sphere", "sphere, half", "unet", "unet, half"]
    assert [line["label"] for line in lines] == rows * 2
    assert [line["patient"] for line in lines] == ["0"] * 4 + ["1"] * 4
    for line in lines:
        assert float(line["images_per_s"]) * float(line["latency_s"]) == pytest.approx(1, rel=1e-4)
    told = capsys.readouterr().out
    assert all(f"| {row} |" in told for row in rows)
    assert "1 images of 32²" in told


def test_the_networks_have_as_many_parameters(runtime):
    counts = [runtime.parameters_of(one) for one in runtime.networks(("unet",), 8).values()]
    assert counts[1] == pytest.approx(counts[0], rel=0.1)


def test_each_later_phase_is_made_from_the_one_before(runtime, capsys, monkeypatch):
    monkeypatch.setattr(runtime, "IterUNet", partial(runtime.IterUNet, (2,) * 6))
    image = torch.rand(1, 2, 32, 32, 32)
    made = {name: network(image)["phases"] for name, network in runtime.later_phases().items()}
    assert [len(phases[0]) for phases in made.values()] == [1, 2, 3, 4]
    words = ["--later-phases", "--size", "32", "--batch", "1", "--repeats", "1"]
    assert runtime.main(words) == 0
    told = capsys.readouterr().out
    assert all(f"| {name} |" in told and f"| {name}, half |" in told for name in made)
    assert "1 images of 32³" in told


@pytest.mark.parametrize(
    "wrong",
    [
        *(["--size", "0"], ["--only", "vgg"], ["--device", "tpu"]),
        *(["--later-phases", "--only", "unet"], ["--later-phases", "--width", "4"]),
    ],
)
def test_wrong_options_are_refused(runtime, wrong):
    with pytest.raises(SystemExit):
        runtime.parse(wrong)
