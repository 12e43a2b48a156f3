"""``nc run diffusion-bb demo``: a few images, their bound, and files of them in both orders."""

from __future__ import annotations

import click

from nc_core.command_line import options
from nc_diffusion_bb.commands.evaluate import measure, show
from nc_diffusion_bb.commands.options import chain_options, chosen_spacing, model_option

__all__ = ["demo"]

_BATCH_SIZE = 4
_SPACING = "vlb50"


@click.command(epilog=options.examples("nc run diffusion-bb demo"))
@model_option("Model to show")
@click.option("--dataset", metavar="NAME[:SPLIT]", show_default="images drawn from the model",
              help="Images to code.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=12, show_default=True, metavar="N",
              help="How many images.")  # fmt: skip
@chain_options(default=f"{_SPACING} where the chain has it")
@options.seed()
@options.json_output()
@click.pass_context
def demo(
    context: click.Context,
    model: str,
    dataset: str | None,
    limit: int,
    respacing: str | None,
    steps: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Code some images in both orders, decode them, and compare what that took.

    The order bb-ans, the original's, pops all latents before it pushes anything; bit-swap pops
    them as they are needed. What they borrow is in the column 'initial'. With a lead-in the first
    images are coded without a network, and lend to the others.
    """
    from nc_core.command_line.progress import progress
    from nc_core.models import find_model_file, load_coder
    from nc_diffusion_bb.commands.options import network_images
    from nc_diffusion_bb.diffusion import GaussianDiffusion
    from nc_diffusion_bb.draws import draw_images
    from nc_diffusion_bb.evaluation import Case, Evaluation
    from nc_diffusion_bb.release import float_model, load

    plugins = options.plugins_of(context)
    _, file = find_model_file(model, plugins)
    lossless = load(file)  # refuses what draws images but does not compress
    network, chain = float_model(file)
    if respacing is None and steps is None:
        respacing = _usual_spacing(chain.steps)
    spacing = chosen_spacing(respacing, steps, chain.steps)
    if dataset is not None:
        pixels = network_images(dataset, network, plugins).first(limit)
    else:
        with progress("drawing", limit, "images") as advance:
            diffusion = GaussianDiffusion.of(chain, spacing)
            pixels = draw_images(network, diffusion, limit, seed=seed, tell=advance)
    coder = load_coder(plugins=plugins)
    evaluation = Evaluation(file.name, network, chain, lossless, coder, pixels, {}, seed)
    cases = [
        Case("bb-ans", _BATCH_SIZE, "none"),
        Case("bit-swap", _BATCH_SIZE, "none"),
        Case("bit-swap", _BATCH_SIZE, "predictive"),
    ]
    show(measure(evaluation, spacing, cases), as_json)


def _usual_spacing(steps: int) -> str | None:
    """A short chain, where the model has it."""
    from nc_core.errors import UsageError
    from nc_diffusion_bb.respacing import chosen_steps

    try:
        chosen_steps(steps, _SPACING)
    except UsageError:
        return None
    return _SPACING
