"""The records of this package's datasets; imports nothing that is slow."""

from __future__ import annotations

from nc_core.specs import DatasetSpec, Reference

__all__ = ["DATASETS", "PAPER"]

PAPER = Reference(
    "Y. Yang, S. Mandt",
    "Towards Empirical Sandwich Bounds on the Rate-Distortion Function",
    "2111.12166",
)
_NONLINEAR_TRANSFORM_CODING = Reference(
    "J. Ballé, P. A. Chou, D. Minnen, S. Singh, N. Johnston, E. Agustsson, S. J. Hwang, "
    "G. Toderici",
    "Nonlinear Transform Coding",
    "2007.03034",
)
_PAPER_PAGE = "https://github.com/mandt-lab/RD-sandwich"
_PHYSICS_LICENCE = "none stated with the files"
_SPEECH_PAGE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
_SPEECH_LICENCE = "CC BY-SA 4.0"
_BOTH = ("train", "test")
# The training split is not offered everywhere: the one that is comes first.
_TEST_FIRST = ("test", "train")
_SEED = "seed of the samples, an integer; default: that of the command, or 0"
_DRAWN = "none needed: drawn from a formula"

DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        name="gaussian",
        summary="a Gaussian of independent coordinates, without end (gaussian?dim=8)",
        target="nc_rd_bounds.sources.gaussian:open_gaussian",
        reference=PAPER,
        splits=_BOTH,
        options={
            "dim": "number of dimensions, 1 to 1048576; default 2, or that of params",
            "params": ".npz file with loc and scale (or var); default: mean 0, variance 1",
            "seed": _SEED,
        },
        licence=_DRAWN,
    ),
    DatasetSpec(
        name="banana",
        summary="a bent Gaussian, in 2 dimensions or embedded in more, without end (banana?dim=16)",
        target="nc_rd_bounds.sources.banana:open_banana",
        reference=_NONLINEAR_TRANSFORM_CODING,
        splits=_BOTH,
        options={
            "dim": "number of dimensions, 2 to 65536; default 2, or that of matrix",
            "matrix": ".npy file with the matrix (2, n) of the embedding; default: a fixed one",
            "seed": _SEED,
        },
        licence=_DRAWN,
    ),
    DatasetSpec(
        name="physics",
        summary="leptons of Z decays, 16 numbers per event, 10000 test",
        target="nc_rd_bounds.sources.physics:open_physics",
        reference=PAPER,
        splits=_TEST_FIRST,
        licence=_PHYSICS_LICENCE,
        converter="nc_rd_bounds.sources.physics:read_physics",
        homepage=_PAPER_PAGE,
    ),
    DatasetSpec(
        name="physics-2d",
        summary="two of the numbers of 'physics', 10000 test",
        target="nc_rd_bounds.sources.physics:open_physics_2d",
        reference=PAPER,
        splits=_TEST_FIRST,
        licence=_PHYSICS_LICENCE,
        converter="nc_rd_bounds.sources.physics:read_physics_2d",
        homepage=_PAPER_PAGE,
    ),
    DatasetSpec(
        name="speech",
        summary="spectra of spoken digits, 33 numbers per frame, 1398748 train and 125701 test",
        target="nc_rd_bounds.sources.speech:open_speech",
        reference=PAPER,
        splits=_BOTH,
        licence=_SPEECH_LICENCE,
        converter="nc_rd_bounds.sources.speech:read_speech",
        homepage=_SPEECH_PAGE,
    ),
    DatasetSpec(
        name="speech-2d",
        summary="two of the numbers of 'speech', 1398748 train and 125701 test",
        target="nc_rd_bounds.sources.speech:open_speech_2d",
        reference=PAPER,
        splits=_BOTH,
        licence=_SPEECH_LICENCE,
        converter="nc_rd_bounds.sources.speech:read_speech_2d",
        homepage=_SPEECH_PAGE,
    ),
    DatasetSpec(
        name="gan-images",
        summary="images of a generator of yours, without end (gan-images?generator=mine:load)",
        target="nc_rd_bounds.sources.gan_images:open_gan_images",
        reference=PAPER,
        splits=_BOTH,
        options={
            "generator": "package.module:attribute, a function without arguments that returns "
            "the generator; required",
            "class": "basenji, beagle, jay, magpie, or the number of a class; default basenji",
            "d": "latent coordinates that are not 0; default 2",
            "truncation": "factor of the latent coordinates, above 0; default 0.8",
            "seed": _SEED,
        },
        licence="of the generator",
    ),
    DatasetSpec(
        name="image-crops",
        summary="random square crops of an image dataset, in [0, 1], without end "
        "(image-crops?of=mnist&side=16)",
        target="nc_rd_bounds.sources.crops:open_image_crops",
        reference=PAPER,
        splits=_BOTH,
        options={
            "of": "dataset of 8-bit images that has splits train and test, or a full name "
            "(mnist:train) for both; default mnist",
            "side": "height and width of the crops; default 16",
            "seed": _SEED,
        },
        licence="of the dataset",
    ),
)
