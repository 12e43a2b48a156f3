"""Which of the package's families a recipe trains: its key ``family`` says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nc_bitswap.config import BitswapConfig
from nc_bitswap.photo.config import PhotoConfig
from nc_core.config import load_config, read_recipe
from nc_core.datasets.opening import open_dataset
from nc_core.errors import UsageError
from nc_core.lookup import did_you_mean

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_core.training import FitResult

__all__ = ["load_recipe", "training_of"]

_PACKAGE = "nc_bitswap"
_CONFIGS: dict[str, type[BitswapConfig] | type[PhotoConfig]] = {
    "bitswap": BitswapConfig,
    "bitswap-photo": PhotoConfig,
}


def load_recipe(recipe: str, settings: Sequence[str]) -> BitswapConfig | PhotoConfig:
    """The configuration of a recipe, of whichever family.

    Args:
        recipe: name of a recipe of this package, or the path of a YAML file.
        settings: ``"training.seed=1"``, over the recipe's.

    Raises:
        UsageError, DataError: as :func:`nc_core.config.load_config`.
    """
    family = str(read_recipe(recipe, _PACKAGE).get("family", "bitswap"))
    if family not in _CONFIGS:
        raise UsageError(
            f"recipe '{recipe}': no family '{family}'{did_you_mean(family, _CONFIGS)}",
            f"known: {', '.join(_CONFIGS)}",
        )
    return load_config(_CONFIGS[family], recipe, package=_PACKAGE, settings=settings)


def training_of(
    config: BitswapConfig | PhotoConfig, plugins: PluginManager
) -> Callable[..., FitResult]:
    """Training as a function of the run directory and ``hardware``, ``loggers``, ``progress``.

    Raises:
        NcError: a dataset that cannot be opened, or that the family cannot train on.
    """
    datasets = [open_dataset(name, plugins) for name in (config.data.train, config.data.test)]
    if isinstance(config, PhotoConfig):
        from nc_bitswap.photo.data import Photographs
        from nc_bitswap.photo.train import train as train_photo

        photographs = [Photographs(dataset) for dataset in datasets]
        return lambda run, **given: train_photo(config, run, *photographs, **given)
    from nc_bitswap.data import ModelImages
    from nc_bitswap.train import train

    shape = (config.model.channels, config.model.height, config.model.width)
    images = [ModelImages(dataset, shape, config.model.padding) for dataset in datasets]
    return lambda run, **given: train(config, run, *images, **given)
