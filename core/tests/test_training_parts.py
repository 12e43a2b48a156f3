"""Batches, averages and checkpoints, each by itself."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs nc-core[torch]")
pytest.importorskip("lightning_fabric", reason="training needs nc-core[torch]")

from nc_core.errors import DataError, UsageError  # noqa: E402
from nc_core.training import Shard, TrainingData, seeded  # noqa: E402
from nc_core.training.batches import Batches  # noqa: E402
from nc_core.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from nc_core.training.ema import Ema  # noqa: E402
from nc_core.training.shards import WHOLE  # noqa: E402

# Batches


def batches(length: int | None = 50, size: int = 8, seed: int = 3) -> Batches:
    def load(indices: Any, generator: np.random.Generator) -> Any:
        return indices, generator.integers(1 << 30)

    return Batches(TrainingData(load, length), size, seed)


def test_an_epoch_takes_every_item_at_most_once_and_drops_the_rest() -> None:
    source = batches()
    assert source.steps_per_epoch == 6
    for epoch in (0, 1, 1000):
        taken = np.concatenate([source.indices(6 * epoch + k, WHOLE) for k in range(6)])
        assert len(set(taken)) == 48
        assert set(taken) <= set(range(50))


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    firsts = [batches().indices(6 * epoch, WHOLE).tolist() for epoch in range(3)]
    firsts.append(batches(seed=4).indices(0, WHOLE).tolist())
    assert len({tuple(first) for first in firsts}) == 4


def test_the_order_is_the_same_in_every_release() -> None:
    assert batches().indices(0, WHOLE).tolist() == [47, 9, 31, 27, 30, 7, 32, 8]


def test_a_batch_depends_on_its_step_alone() -> None:
    one, two = batches(), batches()
    for k in (17, 3, 12, 0):
        one.batch(k + 1, WHOLE)
        first, second = one.batch(k, WHOLE), two.batch(k, WHOLE)
        assert (first[0] == second[0]).all()
        assert first[1] == second[1]


def test_processes_share_the_batch_of_one() -> None:
    parts = [batches().indices(4, Shard(rank, 4)) for rank in range(4)]
    assert (np.concatenate(parts) == batches().indices(4, WHOLE)).all()
    draws = {int(batches().batch(4, Shard(rank, 4))[1]) for rank in range(4)}
    assert len(draws) == 4


def test_two_processes_see_each_item_once_in_an_epoch() -> None:
    source = batches(length=48)
    for epoch in range(2):
        steps = range(6 * epoch, 6 * epoch + 6)
        seen = [source.indices(k, Shard(rank, 2)) for rank in (0, 1) for k in steps]
        assert sorted(np.concatenate(seen).tolist()) == list(range(48))


def test_data_without_end_never_repeat_an_index() -> None:
    source = batches(length=None)
    assert source.steps_per_epoch is None
    assert source.indices(2, Shard(1, 2)).tolist() == [20, 21, 22, 23]


def test_a_batch_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(UsageError, match="50 training items are fewer than one batch of 51"):
        batches(size=51)
    with pytest.raises(UsageError, match="8 cannot be divided among 3 processes") as caught:
        batches().indices(0, Shard(0, 3))
    assert caught.value.hint == "--set training.batch_size=9"


@pytest.mark.parametrize("loaders", [0, 1, 3])
def test_loading_ahead_keeps_the_order(loaders: int) -> None:
    source = batches()
    stream = list(source.stream(5, 20, WHOLE, loaders))
    assert [int(draw) for _, draw in stream] == [
        int(source.batch(k, WHOLE)[1]) for k in range(5, 20)
    ]


def test_a_stream_that_is_closed_early_leaves_no_threads() -> None:
    stream = batches().stream(0, 1000, WHOLE, 2)
    next(stream)
    stream.close()
    assert not any(thread.name.startswith("nc-loader") for thread in threading.enumerate())


def test_an_error_while_loading_arrives_at_its_step() -> None:
    def load(indices: Any, _: Any) -> Any:
        if 16 in indices:
            raise DataError("photo.png: truncated")
        return indices

    stream = Batches(TrainingData(load), 8, 0).stream(0, 10, WHOLE, 2)
    assert len([next(stream), next(stream)]) == 2
    with pytest.raises(DataError, match="truncated"):
        next(stream)


# Randomness


def test_seeded_blocks_repeat_and_leave_the_generators_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(5):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(5):
        assert torch.equal(torch.rand(3), first)
    with seeded(5, 1):
        assert not torch.equal(torch.rand(3), first)


# Averages


def averaged(form: Any, decay: float = 0.9, warm_up: bool = False) -> tuple[Any, Ema]:
    module = torch.nn.BatchNorm1d(1)
    with torch.no_grad():
        module.weight.fill_(1.0)
    module.bias.requires_grad_(False)
    ema = Ema(module, decay, form, warm_up=warm_up)
    for k, value in enumerate((2.0, 3.0)):
        with torch.no_grad():
            module.weight.fill_(value)
        ema.update(k)
    return module, ema


def test_the_conventional_average_keeps_most_of_the_old_value() -> None:
    module, ema = averaged("conventional")
    with ema.applied():
        assert module.weight.item() == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 3)
    assert module.weight.item() == 3.0


def test_the_swapped_average_keeps_next_to_nothing_of_it() -> None:
    module, ema = averaged("swapped")
    with ema.applied():
        assert module.weight.item() == pytest.approx(0.1 * (0.1 * 1 + 0.9 * 2) + 0.9 * 3)


def test_an_average_that_warms_up_soon_forgets_the_start() -> None:
    module, ema = averaged("conventional", warm_up=True)
    with ema.applied():
        first = 2 / 11 * 1 + 9 / 11 * 2
        assert module.weight.item() == pytest.approx(3 / 12 * first + 9 / 12 * 3)
    limited, plain = (averaged("conventional", 0.1, warm)[1] for warm in (True, False))
    assert torch.equal(limited.state_dict()["weight"], plain.state_dict()["weight"])


def test_an_average_of_decay_zero_is_the_parameter() -> None:
    module, ema = averaged("conventional", 0.0)
    with ema.applied():
        assert module.weight.item() == 3.0


def test_only_trainable_parameters_are_averaged() -> None:
    _, ema = averaged("conventional")
    assert ema.state_dict().keys() == {"weight"}


def test_parameters_come_back_after_an_error() -> None:
    module, ema = averaged("conventional")
    with pytest.raises(KeyError), ema.applied():
        raise KeyError
    assert module.weight.item() == 3.0


# Checkpoints


def test_any_nesting_of_tensors_and_values_comes_back(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 2).to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, betas=(0.5, 0.75))
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    half = torch.tensor(0.1, dtype=torch.bfloat16)
    state = {
        "optimizer": optimizer.state_dict(),
        "tied": [half, {"again": half, 3: (None, True, 1 << 70, 0.1, "ü", [])}],
        "empty": torch.zeros(0, 3),
        "view": torch.arange(12).reshape(3, 4).T,
    }
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded["tied"][1][3] == (None, True, 1 << 70, 0.1, "ü", [])
    assert torch.equal(loaded["tied"][1]["again"], half)
    assert loaded["empty"].shape == (0, 3)
    assert torch.equal(loaded["view"], state["view"])
    before, after = optimizer.state_dict(), loaded["optimizer"]
    assert after["param_groups"] == before["param_groups"]
    assert after["state"].keys() == before["state"].keys() == {0, 1}
    for key, value in before["state"][0].items():
        assert torch.equal(after["state"][0][key], value)


@pytest.mark.parametrize(
    "state", [{"a": np.zeros(1)}, {"a": {1.5: 0}}, {"a": object()}, {"a": {(1,): 0}}, {"a": b""}]
)
def test_what_is_no_plain_value_is_refused(tmp_path: Path, state: Any) -> None:
    with pytest.raises(TypeError, match="checkpoint"):
        save_checkpoint(tmp_path / "c.safetensors", state)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_says_so(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"a": torch.ones(3)})
    data = path.read_bytes()
    for damaged in (data[:-1], data[:20], b"", b"\x02\0\0\0\0\0\0\0{}"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"c.safetensors: (damaged|not a) checkpoint"):
            load_checkpoint(path)
    with pytest.raises(DataError, match="no such file"):
        load_checkpoint(tmp_path / "none")


# Layers


def test_settings_are_read_without_torch() -> None:
    program = "import sys, nc_core.training.settings; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert {"torch", "lightning_fabric", "numpy"} & set(result.stdout.split()) == set()
