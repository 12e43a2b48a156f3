"""What model files of all families have in common: networks in integers, and their real weights.

Networks are first built without memory, from sizes that a file only claims; all memory that they
take in the end is that of the file's own tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nc_core.errors import DataError
from nc_core.exact import EffectiveLayer, ExactLayer, exact_state, load_exact
from nc_core.model_file import EXTRAS, ModelFile

__all__ = [
    "NETWORKS",
    "load_networks",
    "load_weights",
    "network_tensors",
    "refusing",
    "tensors_of",
    "without_memory",
]

NETWORKS = "networks."

Arrays = dict[str, NDArray[Any]]
Build = Callable[[Mapping[str, Any]], nn.Module]
"""Makes networks of a model file's sizes."""
_Module = TypeVar("_Module", bound=nn.Module)


def network_tensors(
    lowered: nn.Module, real: nn.Module | None = None, prefix: str = NETWORKS
) -> tuple[Arrays, dict[str, Any]]:
    """What a model file holds of networks.

    Args:
        lowered: to integers.
        real: with the weights that training needs; None to leave them out.
        prefix: of the integers' names.

    Returns:
        Tensors by name, and the settings of the integers, which are JSON.
    """
    state = exact_state(lowered)
    tensors: Arrays = {f"{prefix}{key}": value.numpy() for key, value in state.tensors.items()}
    if real is not None:
        weights = real.state_dict().items()
        tensors |= {f"{EXTRAS}{key}": value.cpu().numpy() for key, value in weights}
    return tensors, state.config


def tensors_of(file: ModelFile, prefix: str) -> Arrays:
    """The tensors of a file whose names begin with a prefix, by name without it."""
    found = file.tensors().items()
    return {key.removeprefix(prefix): array for key, array in found if key.startswith(prefix)}


@contextmanager
def refusing(file: ModelFile, family: str) -> Iterator[None]:
    """Turn what goes wrong with a file's content into one line about the file.

    Raises:
        DataError: the file is of another family, or the block found it to be no model of this one.
    """
    if file.family != family:
        raise DataError(f"model '{file.name}': of family '{file.family}', not '{family}'")
    try:
        yield
    except DataError as error:
        raise DataError(f"model '{file.name}': {error.message}", error.hint) from error
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        reason = f": {_reason(error)}" if isinstance(error, ValueError) else ""
        raise DataError(f"model '{file.name}': not a model of family '{family}'{reason}") from error


def _reason(error: ValueError) -> str:
    """In one line what is wrong; of several wrong settings the first."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def load_networks(
    file: ModelFile, kind: type[_Module], build: Build, prefix: str = NETWORKS
) -> _Module:
    """The networks of a model file, in integers; within a block of :func:`refusing`.

    Args:
        file: as :func:`network_tensors` makes its tensors and ``networks`` of its configuration.
        kind: what ``build`` makes.
        build: takes the file's ``architecture``.
        prefix: of the integers' names.

    Raises:
        DataError, LookupError, AttributeError, TypeError, ValueError, RuntimeError: the file holds
            others.
    """
    skeleton = without_memory(lambda: build(file.config["architecture"]))
    claimed = _layer_shapes(skeleton)
    tensors = {
        key: torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        for key, array in tensors_of(file, prefix).items()
    }
    exact = load_exact(skeleton, tensors, file.config["networks"])
    for path, shape in _layer_shapes(exact).items():
        if shape != claimed.get(path):
            raise ValueError(f"layer '{path}' has the shape {shape}, not {claimed.get(path)}")
    assert isinstance(exact, kind)
    return exact


def load_weights(
    file: ModelFile,
    family: str,
    kind: type[_Module],
    build: Build,
    weights: Mapping[str, NDArray[Any]] | None = None,
) -> _Module:
    """The networks of a model file in floating point, in evaluation mode.

    Args:
        file: written with its real-valued weights.
        family: of the model.
        kind: what ``build`` makes.
        build: takes the file's ``architecture``.
        weights: by name; None for those that only training needs.

    Raises:
        DataError: it is of another family, holds integers only, or weights of another shape.
    """
    with refusing(file, family):
        model = without_memory(lambda: build(file.config["architecture"]))
    arrays = file.extras() if weights is None else weights
    if not arrays:
        raise DataError(
            f"model '{file.name}': holds the integers for coding only",
            "models that training writes hold the real-valued weights as well",
        )
    dtypes = {key: value.dtype for key, value in model.state_dict().items()}
    found = {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}
    found = {key: value.to(dtypes.get(key, value.dtype)) for key, value in found.items()}
    try:
        model.load_state_dict(found, assign=True)
    except RuntimeError as error:
        raise DataError(f"model '{file.name}': its real-valued weights do not fit it") from error
    assert isinstance(model, kind)
    return model.eval()


def without_memory(build: Callable[[], _Module]) -> _Module:
    """What ``build`` makes, on torch's device ``meta``: shapes and dtypes without values."""
    with torch.device("meta"), _Undrawn():
        return build()


_DRAWS = (
    Tensor.normal_,
    Tensor.uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
)


class _Undrawn(TorchFunctionMode):
    """Initial weights are not drawn: without memory, that would load much of torch for nothing."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else given["tensor"]
        if func in (torch.arange, torch.linspace):
            given["device"] = "cpu"
        return func(*args, **given)


def _layer_shapes(networks: nn.Module) -> dict[str, tuple[int, ...]]:
    """(outputs, inputs, *taps) of every layer, real-valued or lowered, by path."""
    shapes = {}
    for path, module in networks.named_modules():
        if isinstance(module, ExactLayer):
            weight, inputs = module.parts[0].weight, max(part.stop for part in module.parts)
            shapes[path] = (len(weight), inputs, *weight.shape[2:])
        elif isinstance(module, EffectiveLayer):
            shapes[path] = tuple(module.effective_weight().shape)
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            shapes[path] = tuple(module.weight.shape)
    return shapes
