"""Which of the package's families a recipe trains, or a model belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nc_bitswap.bbans.config import BbansConfig
from nc_bitswap.config import BitswapConfig
from nc_bitswap.photo.config import PhotoConfig
from nc_core.config import load_config, read_recipe
from nc_core.datasets.items import count_items
from nc_core.datasets.opening import open_dataset
from nc_core.errors import UsageError
from nc_core.lookup import did_you_mean

if TYPE_CHECKING:
    from nc_core.model_file import ModelFile
    from nc_core.plugins import PluginManager
    from nc_core.protocols import Dataset
    from nc_core.rates import Measurement
    from nc_core.training import FitResult

__all__ = ["bounds_of", "load_recipe", "training_of"]

_PACKAGE = "nc_bitswap"
AnyConfig = BitswapConfig | PhotoConfig | BbansConfig
_CONFIGS: dict[str, type[BitswapConfig] | type[PhotoConfig] | type[BbansConfig]] = {
    "bitswap": BitswapConfig,
    "bitswap-photo": PhotoConfig,
    "bbans": BbansConfig,
}


def load_recipe(recipe: str, settings: Sequence[str]) -> AnyConfig:
    """The configuration of a recipe, of the family that its key ``family`` names.

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


def training_of(config: AnyConfig, plugins: PluginManager) -> Callable[..., FitResult]:
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
    if isinstance(config, BbansConfig):
        from nc_bitswap.bbans.data import VaeImages
        from nc_bitswap.bbans.model import Architecture
        from nc_bitswap.bbans.train import train as train_vae

        architecture = Architecture(**config.model.to_json())
        digits = [VaeImages(dataset, architecture) for dataset in datasets]
        return lambda run, **given: train_vae(config, run, *digits, **given)
    from nc_bitswap.data import ModelImages
    from nc_bitswap.train import train

    shape = (config.model.channels, config.model.height, config.model.width)
    images = [ModelImages(dataset, shape, config.model.padding) for dataset in datasets]
    return lambda run, **given: train(config, run, *images, **given)


def bounds_of(
    file: ModelFile, dataset: Dataset, limit: int | None = None, seed: int = 0
) -> list[Measurement]:
    """Bounds of a model on the first images of a dataset.

    Args:
        file: a model of one of the paper's families.
        dataset: of images.
        limit: number of images; None for all.
        seed: of the draws of latents.

    Raises:
        UsageError: a model of another family.
        DataError: images that do not fit the model.
    """
    count = count_items(dataset, limit)
    if file.family == "bbans":
        from nc_bitswap.bbans.data import VaeImages
        from nc_bitswap.bbans.evaluate import evaluate_bounds as evaluate_vae
        from nc_bitswap.bbans.release import float_model as float_vae
        from nc_bitswap.bbans.release import load as load_vae

        vae = float_vae(file) if file.extras() else None
        vae_codec = load_vae(file)
        pixels = VaeImages(dataset, vae_codec.architecture).first(count)
        return evaluate_vae(vae, vae_codec, pixels, seed=seed)
    if file.family == "bitswap":
        from nc_bitswap.data import ModelImages
        from nc_bitswap.evaluate import evaluate_bounds
        from nc_bitswap.release import float_model, load

        codec = load(file)
        networks = float_model(file) if file.extras() else None
        images = ModelImages(dataset, codec.image_shape, codec.padding)
        return evaluate_bounds(networks, codec, images.first(count), seed=seed)
    raise UsageError(
        f"model '{file.name}' is of family '{file.family}', which has no bounds to show",
        "'nc eval rate' measures models of any kind",
    )
