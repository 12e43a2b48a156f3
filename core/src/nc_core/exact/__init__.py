"""Exact arithmetic: networks whose results are the same bits on every machine.

A decoder has to repeat the encoder's network outputs bit for bit. Float arithmetic does not repeat:
another batch size or number of threads changes most results. :func:`lower` turns a trained
PyTorch module into one that computes with integers inside float32, at float32's speed:

- A convolution or linear layer rounds its input to integers of about 12 bits, and has integer
  weights whose sums stay below 2^24. Every such sum is exact, in whatever order it is taken.
- Activations come from integer tables, which are part of the format.
- Heads end on the integers that the coder's distributions take.
- Everything between is ordinary code on tensors that know their grid, or is refused by name.

The vocabulary:

- ``Conv1d``, ``Conv2d``, ``ConvTranspose2d`` (one group), ``Linear``, zero padding; any layer that
  offers ``effective_weight()`` and ``effective_bias()``, as weight-normalised ones do;
- ``elu``, ``relu``, ``relu6``, ``hardtanh``, ``leaky_relu`` with slope 2^-n, ``silu``,
  ``sigmoid``, ``softplus``, ``tanh``, ``max_pool2d``, as modules, functions or methods;
- ``avg_pool2d`` of windows side by side, without padding, of 2^n numbers each;
- ``+``, ``-`` and ``*`` of such tensors, of numbers that are short binary fractions, of
  parameters and buffers; division by powers of two; ``clamp``, ``abs``;
- ``cat``, ``stack``, slicing, reshaping, permuting, ``pixel_shuffle``, ``pad`` with zeros, nearest
  ``interpolate``; ``Dropout``, which does nothing; containers, and modules made of all these;
- :class:`GroupNorm`, which takes a scale and a shift for each channel and applies SiLU in the same
  pass over memory, and ``nn.GroupNorm``; :class:`Attention`; :class:`SinusoidalEmbedding`;
- :class:`Input`, :class:`LocationScaleHead`, :class:`IntegerHead`; any module that offers
  ``lowered()``, its own exact counterpart.

Example::

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.latents = Input(-16, 16, fraction_bits=12)
            self.body = nn.Sequential(nn.Conv2d(8, 64, 3, padding=1), nn.ELU())
            self.out = nn.Conv2d(64, 6, 3, padding=1)
            self.head = LocationScaleHead(ScaleMap("softplus", 1 / 1024), gain=127.5, offset=127.5)

        def forward(self, z):
            mean, raw = self.out(self.body(self.latents(z))).chunk(2, dim=1)
            return self.head(mean, raw)       # real numbers: train with them

    exact = lower(trained, (some_latents,))   # a Decoder whose forward returns integers
    means, scales = exact(z)                  # int32 in 1/256 grey levels, int16 indices
    tensors, config = exact_state(exact)      # for the model file
    same = load_exact(Decoder(), tensors, config)

Everything here needs PyTorch: ``pip install 'nc-core[torch]'``.
"""

from nc_core.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401 - only to say well what is missing
except ImportError as _error:
    raise MissingDependencyError(
        "exact arithmetic needs PyTorch", "pip install 'nc-core[torch]'"
    ) from _error

from nc_core.exact.arithmetic import exact_float32, require_exact
from nc_core.exact.attention import Attention
from nc_core.exact.embedding import SinusoidalEmbedding
from nc_core.exact.geometry import EffectiveLayer
from nc_core.exact.grid import Grid
from nc_core.exact.heads import IntegerHead, LocationScaleHead, ScaleMap
from nc_core.exact.inputs import Input
from nc_core.exact.layer import ExactLayer
from nc_core.exact.lowering import lower
from nc_core.exact.normalization import ExactGroupNorm, GroupNorm
from nc_core.exact.planning import Precision
from nc_core.exact.state import (
    ExactState,
    LayerSummary,
    digest,
    exact_state,
    load_exact,
    summary,
)
from nc_core.exact.surgery import ExactModule, Lowerable
from nc_core.exact.tensor import GridTensor

__all__ = [
    "Attention",
    "EffectiveLayer",
    "ExactGroupNorm",
    "ExactLayer",
    "ExactModule",
    "ExactState",
    "Grid",
    "GridTensor",
    "GroupNorm",
    "Input",
    "IntegerHead",
    "LayerSummary",
    "LocationScaleHead",
    "Lowerable",
    "Precision",
    "ScaleMap",
    "SinusoidalEmbedding",
    "digest",
    "exact_float32",
    "exact_state",
    "load_exact",
    "lower",
    "require_exact",
    "summary",
]
