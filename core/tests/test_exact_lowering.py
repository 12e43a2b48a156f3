"""Lowered networks: what is lowered, what is refused, and that nothing changes the result."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from exact_models import Vae, WeightNormConv2d, run_all  # noqa: E402
from nc_core.errors import DataError, UsageError  # noqa: E402
from nc_core.exact import (  # noqa: E402
    ExactLayer,
    GridTensor,
    Input,
    IntegerHead,
    LocationScaleHead,
    Precision,
    ScaleMap,
    digest,
    exact_state,
    load_exact,
    lower,
    summary,
)
from nc_core.exact.grid import FLOAT32_LIMIT  # noqa: E402
from nc_core.exact.tensor import plain  # noqa: E402
from nc_core.testing.torch_settings import onednn, precision, threads  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


def images(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 32, 32), generator=generator, dtype=torch.uint8)


def latents(count: int, seed: int = 0) -> Tensor:
    # Not randn, whose last bits depend on the machine's vector width.
    generator = torch.Generator().manual_seed(seed)
    units = torch.randint(-(1 << 15), 1 << 15, (count, 1, 16, 16), generator=generator)
    return units / (1 << 13)


def small_vae() -> Vae:
    torch.manual_seed(0)
    model = Vae(levels=2, width=8)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, WeightNormConv2d):
                layer.b.normal_(0, 0.1)
        model.gen_std.normal_(-3, 1)
    return model.eval()


@pytest.fixture(scope="module")
def trained() -> Vae:
    return small_vae()


@pytest.fixture(scope="module")
def exact(trained: Vae) -> nn.Module:
    return lower(trained, run_all(images(4)))


def outputs(model: nn.Module, count: int, spread: Callable[[Tensor], Tensor] | None = None):
    """Every method's integers on the first ``count`` inputs; ``spread`` changes their layout."""
    place = spread or (lambda tensor: tensor)
    pixels, first, second = (
        place(tensor[:count]) for tensor in (images(16), latents(16, 1), latents(16, 2))
    )
    return [
        *model.infer(0, pixels),
        *model.infer(1, first),
        *model.generate(0, second),
        *model.generate(1, first),
    ]


def fingerprint(model: nn.Module, count: int = 16) -> str:
    total = hashlib.sha256()
    for tensor in outputs(model, count):
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


def test_heads_return_the_integers_that_distributions_take(trained: Vae, exact: nn.Module) -> None:
    with torch.no_grad():
        real = [
            trained.posterior.to_symbols(*trained.infer(0, images(16))),
            trained.likelihood.to_symbols(*trained.generate(0, latents(16))),
        ]
    integers = [exact.infer(0, images(16)), exact.generate(0, latents(16))]
    for (mean, scale), (position, index), bits in zip(real, integers, (14, 8), strict=True):
        assert position.dtype == torch.int32
        assert index.dtype == torch.int16
        assert position.shape == mean.shape
        assert index.shape == scale.shape
        error = (position / 2**bits - mean).square().mean().sqrt()
        assert float(error) < 0.02 * float(mean.std())
        steps = (index - (scale.log2() + 6) * 64).abs()
        assert float(steps.mean()) < 1


def test_batches_of_any_size_give_the_same_integers(exact: nn.Module) -> None:
    whole = outputs(exact, 16)
    for count in (1, 3):
        for part, full in zip(outputs(exact, count), whole, strict=True):
            expected = full[:count] if full.dim() == 4 else full
            assert torch.equal(part, expected)


def test_the_order_in_a_batch_does_not_matter(exact: nn.Module) -> None:
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    shuffled = outputs(exact, 16, lambda tensor: tensor[order])
    for part, full in zip(shuffled, outputs(exact, 16), strict=True):
        assert torch.equal(part, full[order] if full.dim() == 4 else full)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("enabled", [True, False])
def test_threads_and_libraries_change_nothing(exact: nn.Module, count: int, enabled: bool) -> None:
    expected = fingerprint(exact)
    with threads(count), onednn(enabled), precision("medium"):
        assert fingerprint(exact) == expected


def test_memory_layout_changes_nothing(exact: nn.Module) -> None:
    last = outputs(exact, 16, lambda tensor: tensor.to(memory_format=torch.channels_last))
    for got, expected in zip(last, outputs(exact, 16), strict=True):
        assert torch.equal(got, expected)


def test_threads_of_one_process_do_not_disturb_each_other(exact: nn.Module) -> None:
    expected = fingerprint(exact)
    found: list[str] = []
    workers = [threading.Thread(target=lambda: found.append(fingerprint(exact))) for _ in range(4)]
    with onednn(False):
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert found == [expected] * 4


def test_autocast_and_inference_mode_change_nothing(exact: nn.Module) -> None:
    expected = fingerprint(exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fingerprint(exact) == expected
    with torch.inference_mode():
        assert fingerprint(exact) == expected


def test_float_weights_no_longer_matter(trained: Vae) -> None:
    model = small_vae()
    lowered = lower(model, run_all(images(4)))
    expected = fingerprint(lowered)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 1e-3).add_(1e-4)
    assert fingerprint(lowered) == expected
    assert not [p for p in lowered.parameters() if p.is_floating_point()]


PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
import torch
sys.path.insert(0, sys.argv[2])
from exact_models import Vae
from test_exact_lowering import fingerprint
from nc_core.exact import load_exact
config = json.loads(Path(sys.argv[1], "config.json").read_text())
arrays = np.load(Path(sys.argv[1], "tensors.npz"))
tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
print(fingerprint(load_exact(Vae(levels=2, width=8), tensors, config)))
"""

# What a machine with fewer instructions would take: other vector widths, other kernels.
OTHER_MACHINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "NUMBA_CPU_NAME": "generic",
    "OMP_NUM_THREADS": "1",
}


@pytest.mark.parametrize("environment", [{}, OTHER_MACHINE], ids=["same", "plainer"])
def test_a_fresh_process_and_a_plainer_machine_agree(
    exact: nn.Module, environment: dict[str, str], tmp_path: Path
) -> None:
    import numpy as np

    tensors, config = exact_state(exact)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez(tmp_path / "tensors.npz", **arrays)
    here = str(Path(__file__).parent)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), here],
        env=os.environ | environment | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == fingerprint(exact)


def test_every_layer_respects_its_bound(exact: nn.Module) -> None:
    layers = [module for module in exact.modules() if isinstance(module, ExactLayer)]
    assert len(layers) == 23
    for layer in layers:
        assert (layer.largest_sums() < FLOAT32_LIMIT).all()
        for part in layer.parts:
            weights = abs(part.weight).reshape(len(part.weight), -1).sum(1)
            assert (weights * layer.input_grid.limit + abs(part.bias) < 1 << 24).all()


def test_a_summary_says_what_each_layer_got(exact: nn.Module) -> None:
    layers = summary(exact)
    assert {layer.operation for layer in layers} == {"conv2d"}
    assert layers[0].path == "infer_in.1"
    assert layers[0].input_bits == 9
    for layer in layers:
        assert 0.4 < layer.fill < 1
        assert layer.relative_error < 2**-5
        assert 4 < layer.weight_bits < 20


def test_state_and_back_gives_the_same_model(exact: nn.Module) -> None:
    state = exact_state(exact)
    config = json.loads(json.dumps(state.config))
    assert not any(tensor.is_floating_point() for tensor in state.tensors.values())
    again = load_exact(Vae(levels=2, width=8), state.tensors, config)
    assert fingerprint(again) == fingerprint(exact)
    assert digest(exact_state(again)) == digest(state)


def test_a_digest_depends_on_every_integer_and_setting(exact: nn.Module) -> None:
    tensors, config = exact_state(exact)
    digests = {digest(exact_state(exact))}
    for name in ("infer_in.1.weight.0", "gen_std"):
        changed = {key: value.clone() for key, value in tensors.items()}
        changed[name].view(-1)[0] += 1
        digests.add(digest(type(exact_state(exact))(changed, config)))
    changed_config = json.loads(json.dumps(config))
    changed_config["modules"]["infer_in.1"]["limit"] -= 1
    digests.add(digest(type(exact_state(exact))(tensors, changed_config)))
    assert len(digests) == 4


CHANGES = {
    "another version": lambda t, c: c.update(version=2),
    "another table": lambda t, c: c["tables"].update(elu="0" * 64),
    "a table that is not known": lambda t, c: c["tables"].update(gelu="0" * 64),
    "no tables": lambda t, c: c.pop("tables"),
    "a missing layer": lambda t, c: c["modules"].pop("infer_mu"),
    "a missing tensor": lambda t, c: t.pop("infer_mu.weight.0"),
    "a tensor too many": lambda t, c: t.update(more=torch.zeros(1, dtype=torch.int32)),
    "another head": lambda t, c: c["modules"]["likelihood"].update(gain=1.0),
    "another input": lambda t, c: c["modules"]["pixels"].update(high=1023.0),
    "a constant of another shape": lambda t, c: t.update(gen_std=t["gen_std"][:, 1:]),
    "a constant beyond its limit": lambda t, c: t["gen_std"].fill_(1 << 30),
    "a grid out of range": lambda t, c: c["constants"]["gen_std"].update(fraction_bits=999),
    "a huge grid": lambda t, c: c["inputs"].update(x={"fraction_bits": -60, "limit": 1 << 24}),
    "another kind": lambda t, c: c["modules"]["infer_mu"].update(kind="input"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_state_that_does_not_fit_is_refused(exact: nn.Module, name: str) -> None:
    state = exact_state(exact)
    tensors = {key: value.clone() for key, value in state.tensors.items()}
    config = json.loads(json.dumps(state.config))
    CHANGES[name](tensors, config)
    with pytest.raises(DataError):
        load_exact(Vae(levels=2, width=8), tensors, config)


def test_a_lowered_module_can_be_copied(exact: nn.Module) -> None:
    import copy

    assert fingerprint(copy.deepcopy(exact)) == fingerprint(exact)


# --- ordinary networks ---


class Everything(nn.Module):
    """Ordinary code with most of the vocabulary, and a plain float input."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(2, 8, 3, padding=1)
        self.down = nn.Sequential(nn.Conv2d(8, 16, 4, stride=2, padding=1), nn.SiLU())
        self.heads = nn.ModuleDict({"gate": nn.Conv2d(16, 16, 1), "value": nn.Conv2d(16, 16, 1)})
        self.up = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.position = nn.Parameter(torch.randn(1, 8, 8, 8) * 0.3)
        self.register_buffer("order", torch.tensor([3, 1, 0, 2, 7, 6, 5, 4]))
        self.pool = nn.MaxPool2d(2)
        self.mix = nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 10), nn.Tanh(), nn.Linear(10, 4))

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        h = functional.leaky_relu(self.enter(x), 0.125) + self.position
        low = self.down(h)
        low = torch.sigmoid(self.heads["gate"](low)) * self.heads["value"](low) + low
        same = functional.interpolate(low, scale_factor=2)[:, :8] * 0.5
        h = h.index_select(1, self.order) + self.up(functional.softplus(low)) - same
        return self.mix(self.pool(h.clamp(-4, 4)))


def test_ordinary_code_is_lowered_as_it_is() -> None:
    torch.manual_seed(3)
    model = Everything().eval()
    x = torch.randn(16, 2, 8, 8)
    exact = lower(model, (x,))
    result, expected = exact(x), model(x).detach()
    assert isinstance(result, GridTensor)
    error = (result.integers() * 2.0**-result.grid.fraction_bits - expected).std()
    assert float(error) < 0.02 * float(expected.std())
    whole = result.integers()
    for enabled in (True, False):
        with onednn(enabled):
            assert torch.equal(exact(x[:3]).integers(), whole[:3])
            assert torch.equal(exact(x=x).integers(), whole)
    state = exact_state(exact)
    again = load_exact(Everything(), *json_round_trip(state))
    assert torch.equal(again(x).integers(), whole)


def json_round_trip(state):
    return state.tensors, json.loads(json.dumps(state.config))


def test_a_single_layer_is_a_network_too() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3), torch.randn(7, 5)
    exact = lower(layer, x)
    assert (
        float(
            (exact(x).integers() * 2.0**-exact.output_grid.fraction_bits - layer(x))
            .abs()
            .max()
            .detach()
        )
        < 0.01
    )
    again = load_exact(nn.Linear(5, 3), *json_round_trip(exact_state(exact)))
    assert torch.equal(again(x).integers(), exact(x).integers())


class Shrinking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.avg_pool2d(self.pool(self.first(x)), 2))


def test_a_network_that_takes_means_is_lowered_saved_and_loaded() -> None:
    torch.manual_seed(0)
    network, x = Shrinking().requires_grad_(False), torch.randn(3, 3, 16, 12)
    lowered = lower(network, x)
    result = plain(lowered(x))
    assert result.shape == (3, 2, 4, 3)
    assert float((result - network(x)).abs().max()) < 0.01
    again = load_exact(Shrinking(), *exact_state(lowered))
    assert torch.equal(plain(again(x)), result)
    assert torch.equal(plain(lowered(x[:1])), result[:1])


def test_shared_layers_are_lowered_once() -> None:
    torch.manual_seed(0)
    shared = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(shared, nn.ELU(), shared)
    exact = lower(model, torch.randn(4, 4, 6, 6))
    assert exact[0] is exact[2]
    assert len(exact_state(exact).tensors) == 3


def test_pixels_enter_without_any_rounding() -> None:
    module = Input(0, 255, offset=127.5, scale=127.5)
    model = nn.Sequential(module, nn.Conv2d(1, 1, 1, bias=False))
    with torch.no_grad():
        model[1].weight.fill_(127.5)
    pixels = torch.arange(256).view(1, 1, 16, 16)
    exact = lower(model, (pixels,))
    result = exact(pixels)
    values = result.integers() * 2.0**-result.grid.fraction_bits
    assert torch.equal(values, pixels.double() - 127.5)
    assert torch.equal(exact(pixels.to(torch.uint8)).integers(), result.integers())
    assert torch.equal(exact(pixels.float()).integers(), result.integers())


def test_inputs_are_limited_to_their_range_and_grid() -> None:
    exact = Input(-2, 2, fraction_bits=3).lowered()
    found = exact(torch.tensor([-9.0, -0.07, 0.07, 1.99, 9.0]))
    assert found.integers().tolist() == [-16, -1, 1, 16, 16]
    with pytest.raises(ValueError, match="finite"):
        exact(torch.tensor([math.nan]))


def test_inputs_that_float32_does_not_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="24 bits"):
        Input(0, 1 << 20, fraction_bits=8)
    with pytest.raises(ValueError, match="multiples"):
        Input(0, 0.3)
    with pytest.raises(ValueError, match="low < high"):
        Input(1, 0)


def test_integer_heads_give_logits_on_a_grid() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), IntegerHead(fraction_bits=10, limit=700))
    x = torch.randn(32, 4)
    found = lower(model, x)(x)
    assert found.dtype == torch.int32
    expected = (model(x).detach() * 1024).clamp(-700, 700)
    assert float((found - expected).abs().max()) < 5


def test_a_plain_log_scale_head_works() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)
            self.head = LocationScaleHead(ScaleMap(), fraction_bits=8, scale_shift=1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean, raw = self.layer(x).chunk(2, 1)
            return self.head(mean, raw)

    torch.manual_seed(0)
    model, x = Model(), torch.randn(32, 4)
    mean, scale = model(x)
    means, indices = lower(model, x)(x)
    assert float((means / 256 - mean).detach().abs().max()) < 0.02
    assert float((2.0 ** (indices / 64 - 5) / scale).detach().log().abs().max()) < 0.03


def test_precision_can_be_set_for_all_layers_and_for_one() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ELU(), nn.Linear(8, 8)), torch.randn(9, 8)
    exact = lower(model, x, precision=Precision(input_bits=9), layers={"2": Precision(12, depth=2)})
    first, last = summary(exact)
    assert (first.input_bits, first.parts) == (9, 1)
    assert (last.input_bits, last.parts) == (12, 2)
    with pytest.raises(UsageError, match="no layer '7'"):
        lower(model, x, layers={"7": Precision()})
    with pytest.raises(UsageError, match=r"2 \.\. 20 bits"):
        Precision(input_bits=40)


class Sneaky(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).exp()


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class Unreached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


REFUSED = {
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), r"module '1' \(BatchNorm1d\)"),
    "GELU": (lambda: nn.GELU(), r"module '1' \(GELU\)"),
    "exp": (Sneaky, r"in module '1' \(Sneaky\): 'torch\.Tensor\.exp'"),
    "own weights": (Custom, r"in module '1' \(Custom\): '.*linear' has no exact"),
    "unreached": (Unreached, r"calibration did not reach layer '1\.other'"),
    "elu": (lambda: nn.ELU(0.5), r"in module '1' \(ELU\): elu with alpha"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_lowered_is_named(name: str) -> None:
    make, message = REFUSED[name]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), make()).eval()
    with pytest.raises(UsageError, match=message):
        lower(model, torch.randn(3, 4))


def test_lowering_leaves_the_module_as_it_was() -> None:
    model = small_vae().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = sum(len(module._forward_pre_hooks) for module in model.modules())
    lower(model, run_all(images(2)))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sum(len(module._forward_pre_hooks) for module in model.modules()) == hooks
    assert all(parameter.requires_grad for parameter in model.parameters())
