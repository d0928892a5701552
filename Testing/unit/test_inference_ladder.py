"""The same result on every step of the memory ladder, and a warning of every failed attempt.

There is no GPU here: tensors stay where they are, and CUDA's own answers are made up.
"""

import contextlib

import numpy as np
import pytest

from ContrastSynthLib.errors import Cancelled, RequestError

torch = pytest.importorskip("torch")

from ContrastSynthLib.inference.ladder import run_pieces
from ContrastSynthLib.inference.pieces import Slices, Tiles

COUNT = 11
STACK = np.random.default_rng(5).normal(size=(COUNT, 3, 16, 24)).astype(np.float32)
MIB = 2**20


class Middle(torch.nn.Module):
    """Gives the middle channel, and its double; keeps its inputs."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.device = "cpu"

    def to(self, device, memory_format=None):
        self.device = str(device)
        return self

    def forward(self, slices):
        self.seen.append((self.device, len(slices)))
        return {"pre": slices[:, 1:2], "double": 2 * slices[:, 1:2]}


class Greedy(Middle):
    """Has memory for ``most`` slices on each device."""

    def __init__(self, most, error=None):
        super().__init__()
        self.most = most
        self.error = error or torch.cuda.OutOfMemoryError("simulated")

    def forward(self, slices):
        answer = super().forward(slices)
        if len(slices) > self.most[self.device.split(":")[0]]:
            raise self.error
        return answer


class Run:
    """Runs a network and keeps warnings, progress and record."""

    def __init__(self, network, device="cpu", *, count=COUNT, progress=None, pieces=None):
        self.warnings, self.record, self.progress = [], {}, []
        self.outputs = run_pieces(
            network,
            pieces or Slices(STACK[:count].__getitem__, count),
            device=device,
            progress=progress or (lambda *reported: self.progress.append(reported)),
            warn=self.warnings.append,
            record=self.record,
        )

    @property
    def memory(self):
        return self.record["memory"]


class Cuda:
    """What torch says about a GPU of ``free`` bytes on which a slice takes ``slice_bytes``."""

    def __init__(self, monkeypatch, free=4000 * MIB, slice_bytes=100 * MIB, capability=(8, 6)):
        self.precisions, self.emptied = [], 0
        monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tensor, raising=False)
        monkeypatch.setattr(torch, "autocast", self.autocast)
        for name, answer in {
            "get_device_capability": capability,
            "reset_peak_memory_stats": None,
            "memory_allocated": 7 * MIB,
            "max_memory_allocated": 7 * MIB + slice_bytes,
            "mem_get_info": (free, 2 * free),
        }.items():
            monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer)
        monkeypatch.setattr(torch.cuda, "empty_cache", self.empty)

    def autocast(self, kind, dtype):
        self.precisions.append((kind, dtype))
        return contextlib.nullcontext()

    def empty(self):
        self.emptied += 1


def batches_on(network, device):
    return [size for where, size in network.seen if where == device]


def assert_right(outputs, count=COUNT):
    assert list(outputs) == ["pre", "double"]
    for name, factor in (("pre", 1), ("double", 2)):
        assert outputs[name].shape == (count, 16, 24)
        assert outputs[name].dtype == np.float32
        np.testing.assert_array_equal(outputs[name], factor * STACK[:count, 1])


def test_all_slices_in_their_order():
    network = Middle()
    done = Run(network)
    assert_right(done.outputs)
    assert network.seen == [("cpu", 4), ("cpu", 4), ("cpu", 3)]
    assert done.warnings == []
    assert done.memory == {"device": "cpu", "batch": 4, "precision": "float32", "too_large": []}
    assert [fraction for fraction, _ in done.progress] == [0, 4 / 11, 8 / 11]
    assert done.progress[2][1] == "Slices 9 to 11 of 11"


def test_one_slice():
    done = Run(Middle(), count=1)
    assert_right(done.outputs, 1)
    assert done.memory["batch"] == 1


def test_slices_may_be_a_flipped_read_only_view():
    flipped = STACK[:, :, ::-1]
    flipped.flags.writeable = False
    quiet = {"device": "cpu", "progress": lambda *reported: None, "warn": pytest.fail, "record": {}}
    outputs = run_pieces(Middle(), Slices(flipped.__getitem__, COUNT), **quiet)
    np.testing.assert_array_equal(outputs["pre"], STACK[:, 1, ::-1])


class Convolutions(torch.nn.Module):
    """Two layers, batch statistics and dropout, which show a network in training."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.drop = torch.nn.Dropout(0.5)
        self.last = torch.nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, slices):
        assert torch.is_inference_mode_enabled()
        return {"pre": self.last(self.drop(torch.relu(self.norm(self.first(slices)))))}


def test_the_same_bits_each_time_and_close_whatever_the_batch(monkeypatch):
    network = Convolutions()
    first, second = Run(network).outputs["pre"], Run(network).outputs["pre"]
    np.testing.assert_array_equal(first, second)
    for batch in (1, 3, COUNT):
        monkeypatch.setattr("ContrastSynthLib.inference.ladder.BATCH_WITHOUT_ESTIMATE", batch)
        other = Run(network)
        assert other.memory["batch"] == batch
        np.testing.assert_allclose(other.outputs["pre"], first, atol=1e-5)
    with torch.inference_mode():
        truth = network.eval()(torch.from_numpy(STACK))["pre"][:, 0].numpy()
    np.testing.assert_allclose(first, truth, atol=1e-5)


def test_the_network_stays_in_its_mode():
    network = Convolutions().train()
    network.norm.eval()
    statistics = network.norm.running_mean.clone()
    Run(network)
    assert network.training
    assert network.drop.training
    assert not network.norm.training
    assert torch.equal(network.norm.running_mean, statistics)
    Run(network.eval())
    assert not network.training


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("simulated"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("mmap: Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch(error):
    network = Greedy({"cpu": 1}, error)
    done = Run(network)
    assert_right(done.outputs)
    assert network.seen == [("cpu", 4), ("cpu", 2), *[("cpu", 1)] * COUNT]
    assert done.memory == {
        "device": "cpu",
        "batch": 1,
        "precision": "float32",
        "too_large": [{"device": "cpu", "batch": 4}, {"device": "cpu", "batch": 2}],
    }
    assert done.warnings == [
        "The memory of cpu did not suffice for 4 slices at once; trying 2 at a time.",
        "The memory of cpu did not suffice for 2 slices at once; trying 1 at a time.",
    ]


def test_another_error_is_not_taken_for_a_lack_of_memory():
    network = Greedy({"cpu": 3}, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        Run(network)
    assert len(network.seen) == 1


def test_no_memory_for_one_slice_says_what_would_help():
    with pytest.raises(RequestError, match=r"one piece.*tighter mask"):
        Run(Greedy({"cpu": 0}))


@pytest.mark.parametrize(
    ("free", "slice_bytes", "batch"),
    [
        (1000 * MIB, 100 * MIB, 7),
        (1000 * MIB, 1000 * MIB, 1),
        (1000 * MIB, MIB, 11),  # all there are
    ],
)
def test_cuda_takes_as_many_as_its_free_memory_holds(monkeypatch, free, slice_bytes, batch):
    cuda = Cuda(monkeypatch, free, slice_bytes)
    network = Middle()
    done = Run(network, "cuda:1")
    assert_right(done.outputs)
    assert done.memory["batch"] == batch
    assert batches_on(network, "cuda:1")[:2] == [1, batch]  # one to measure
    assert network.device == "cpu"
    assert done.warnings == []
    assert set(cuda.precisions) == {("cuda", torch.bfloat16)}


def test_no_more_than_32_at_once(monkeypatch):
    Cuda(monkeypatch, slice_bytes=1)
    monkeypatch.setitem(globals(), "STACK", np.zeros((70, 3, 4, 4), np.float32))
    network = Middle()
    Run(network, "cuda", count=70)
    assert batches_on(network, "cuda") == [1, 32, 32, 6]


@pytest.mark.parametrize(
    ("capability", "precision"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16")]
)
def test_half_precision_is_what_the_card_has(monkeypatch, capability, precision):
    cuda = Cuda(monkeypatch, capability=capability)
    done = Run(Middle(), "cuda")
    assert done.memory["precision"] == precision
    assert set(cuda.precisions) == {("cuda", getattr(torch, precision))}


def test_half_precision_comes_back_as_float32():
    class Half(Middle):
        def forward(self, slices):
            return {"pre": slices[:, 1:2].bfloat16()}

    assert Run(Half()).outputs["pre"].dtype == np.float32


def test_from_cuda_down_to_the_cpu(monkeypatch):
    cuda = Cuda(monkeypatch)
    network = Greedy({"cuda": 0, "cpu": 4})
    done = Run(network, "cuda:0")
    assert_right(done.outputs)
    assert batches_on(network, "cpu") == [4, 4, 3]
    assert done.memory == {
        "device": "cpu",
        "batch": 4,
        "precision": "float32",
        "too_large": [{"device": "cuda:0", "batch": 1}],
    }
    assert len(done.warnings) == 1
    assert "cuda:0" in done.warnings[0]
    assert "full precision" in done.warnings[0]
    assert cuda.emptied


def test_no_slice_of_an_attempt_that_failed_is_in_the_result(monkeypatch):
    """CUDA runs out of memory late; half precision must not end beside full."""

    class Late(Middle):
        def forward(self, slices):
            answer = super().forward(slices)
            if self.device == "cuda":
                if len(batches_on(self, "cuda")) > 2:
                    raise torch.cuda.OutOfMemoryError("simulated")
                return {name: value + 1 for name, value in answer.items()}
            return answer

    Cuda(monkeypatch, free=300 * MIB)
    done = Run(Late(), "cuda")
    assert_right(done.outputs)
    assert [attempt["batch"] for attempt in done.memory["too_large"]] == [2, 1]
    assert len(done.warnings) == 2


def test_the_memory_of_a_failed_batch_is_free_before_the_next(monkeypatch):
    """An error that is still alive holds, through its traceback, all tensors of the batch."""
    import weakref

    alive = []

    class Holder(Middle):
        def forward(self, slices):
            answer = super().forward(slices)
            if len(slices) > 2:
                large = slices * 3
                alive.append(weakref.ref(large))
                raise torch.cuda.OutOfMemoryError("simulated")
            return answer

    def freed():
        assert [reference() for reference in alive] == [None] * len(alive)

    Cuda(monkeypatch)
    monkeypatch.setattr(torch.cuda, "empty_cache", freed)
    Run(Holder(), "cuda")
    assert alive


def test_mps_computes_in_full_precision(monkeypatch):
    cuda = Cuda(monkeypatch)
    emptied = []
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append(True))
    network = Greedy({"mps": 2, "cpu": 4})
    done = Run(network, "mps")
    assert_right(done.outputs)
    assert done.memory == {
        "device": "mps",
        "batch": 2,
        "precision": "float32",
        "too_large": [{"device": "mps", "batch": 4}],
    }
    assert cuda.precisions == []
    assert emptied


def test_cancelling_passes_through_and_leaves_the_network_as_it_was():
    def cancel(fraction, message):
        if fraction > 0.3:
            raise Cancelled("enough")

    network = Convolutions().train()
    with pytest.raises(Cancelled, match="enough"):
        Run(network, progress=cancel)
    assert network.training
    assert network.drop.training


@pytest.mark.parametrize("most", [0, 4])
def test_the_network_goes_home_on_every_way_out(monkeypatch, most):
    Cuda(monkeypatch)
    network = Greedy({"cuda": 0, "cpu": most})
    network.register_buffer("anchor", torch.zeros(1))
    moves = []
    monkeypatch.setattr(network, "to", lambda device, **_: moves.append(str(device)) or network)
    network.device = "cuda"
    with contextlib.suppress(RequestError):
        Run(network, "cuda")
    assert moves[0] == "cuda"
    assert moves[-1] == "cpu"


# Tiles


class Small(torch.nn.Module):
    """Has memory for tiles of at most ``most`` voxels; returns them."""

    def __init__(self, most):
        super().__init__()
        self.most, self.seen = most, []

    def forward(self, tiles):
        self.seen.append(tuple(tiles.shape))
        if tiles[0].numel() > self.most:
            raise torch.cuda.OutOfMemoryError("simulated")
        return {"same": tiles}


VOLUME = np.random.default_rng(2).normal(size=(1, 16, 32, 32)).astype(np.float32)


def test_smaller_tiles_are_tried_where_the_network_takes_them():
    tiles = Tiles(VOLUME, (16, 32, 32), (2, 4, 4), least=(8, 8, 8))
    done = Run(Small(16 * 16 * 16), pieces=tiles)
    np.testing.assert_allclose(done.outputs["same"], VOLUME[0], atol=1e-5)
    assert done.memory["tile"] == [16, 16, 16]
    assert [attempt["tile"] for attempt in done.memory["too_large"]] == [
        [16, 32, 32],
        [16, 32, 16],
        [16, 32, 16],
    ]
    assert done.warnings[0] == (
        "The memory of cpu did not suffice for one tile at a time; trying smaller tiles."
    )
    with pytest.raises(RequestError, match="one piece of the volume"):
        Run(Small(100), pieces=tiles)
    with pytest.raises(RequestError, match="one piece of the volume"):
        Run(Small(100), pieces=Tiles(VOLUME, (16, 32, 32)))
