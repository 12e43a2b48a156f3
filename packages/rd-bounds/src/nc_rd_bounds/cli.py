"""``nc run rd-bounds``: the commands of this paper."""

from __future__ import annotations

import click

from nc_rd_bounds.commands.analytic import analytic
from nc_rd_bounds.commands.blahut_arimoto import blahut_arimoto
from nc_rd_bounds.commands.demo import demo
from nc_rd_bounds.commands.evaluate_lower import evaluate_lower
from nc_rd_bounds.commands.evaluate_upper import evaluate_upper
from nc_rd_bounds.commands.plot import plot
from nc_rd_bounds.commands.prepare import prepare
from nc_rd_bounds.commands.sample_images import sample_images
from nc_rd_bounds.commands.sandwich import sandwich
from nc_rd_bounds.commands.train_lower import train_lower
from nc_rd_bounds.commands.train_upper import train_upper

__all__ = ["rd_bounds"]


@click.group("rd-bounds", context_settings={"help_option_names": ["-h", "--help"]})
def rd_bounds() -> None:
    """Sandwich bounds on the rate-distortion function of a data source.

    Between a lower bound that no code can beat and an upper bound that a model achieves lies the
    rate-distortion function; Blahut-Arimoto and closed forms stand beside them where they apply.
    """


for _command in (
    analytic,
    blahut_arimoto,
    demo,
    evaluate_lower,
    evaluate_upper,
    plot,
    prepare,
    sample_images,
    sandwich,
    train_lower,
    train_upper,
):
    rd_bounds.add_command(_command)
