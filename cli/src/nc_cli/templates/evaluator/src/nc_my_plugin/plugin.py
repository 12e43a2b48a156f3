"""What this package provides to nc.

Every ``nc --help`` and ``nc list`` imports this module, so it imports nothing heavy: a target
is a text, and is imported when somebody uses it.
"""

from __future__ import annotations

from collections.abc import Iterable

from nc_core.hookspecs import hookimpl
from nc_core.specs import EvaluatorSpec, Metric


@hookimpl
def nc_evaluators() -> Iterable[EvaluatorSpec]:
    """One that measures a model says in ``needs`` what it asks of it: ``("lossless-model",)``."""
    return [
        EvaluatorSpec(
            name="my-plugin",
            summary="entropy of the values of a dataset, whatever their position",
            target="nc_my_plugin.evaluator:evaluate_entropy",
            metrics=(Metric("entropy", "bit/dim"),),
        )
    ]
