"""The bound of a dataset, in a run directory that a killed evaluation goes on from.

    checkpoints/vlb-000012.safetensors   what is known of part 12, a batch of images and a draw
    results/{vb,mse,xstart_mse}-terms.npz   per step: mean, stdd, min, max over images and draws
    results/vlb-images.npz               bits per dimension of every image: total_bpd (draws, n)
    results/vlb.json                     the numbers that the command prints
    progress.csv, log.txt                samples and running mean total_bpd

Parts are dealt out to the processes, which have the folder in common. Results do not depend on
interruptions or on the number of processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nc_core.errors import DataError
from nc_core.rates import Measurement
from nc_core.runs import RunDirectory, is_main_process
from nc_core.training import Hardware, Shard, sum_over_processes
from nc_core.training.devices import launched
from nc_core.training.loggers import Logger, open_logger
from nc_diffusion_bb.data import Images
from nc_diffusion_bb.diffusion import GaussianDiffusion
from nc_diffusion_bb.progress_table import kept_progress
from nc_diffusion_bb.resumable import finished_records, interruptible
from nc_diffusion_bb.run_figures import log_figures
from nc_diffusion_bb.unet import UNet
from nc_diffusion_bb.vlb import NoiseStream, bound_measurements, placed
from nc_diffusion_bb.vlb_files import save_arrays
from nc_diffusion_bb.vlb_parts import Batch, Part, evaluate_part, load_part

__all__ = ["BoundPlan", "evaluate_bound", "finished_bound"]

Progress = Callable[[float, float], None]

_RESULT = "vlb"
_KEYS = ("samples", "total_bpd")


@dataclass(frozen=True)
class BoundPlan:
    """What to evaluate.

    Args:
        network: in floating point, on the CPU.
        diffusion: the chain.
        images: to evaluate.
        count: how many of them, from the first.
        batch_size: images per pass of the network.
        draws: of the noise of every image.
        seed: of the noise.
        clip: predicted images are clipped to [-1, 1].
    """

    network: UNet
    diffusion: GaussianDiffusion
    images: Images
    count: int
    batch_size: int = 16
    draws: int = 1
    seed: int = 0
    clip: bool = True

    @property
    def parts(self) -> int:
        """Batches of all draws."""
        return self.draws * self._batches

    def draw(self, part: int) -> int:
        """Which draw a part is of."""
        return part // self._batches

    def indices(self, part: int) -> range:
        """Which images a part is of."""
        start = part % self._batches * self.batch_size
        return range(start, min(start + self.batch_size, self.count))

    @property
    def _batches(self) -> int:
        return math.ceil(self.count / self.batch_size)


def finished_bound(run: RunDirectory) -> list[Measurement] | None:
    """What a run found, where it has come to its end.

    Raises:
        DataError: the file of results is damaged.
    """
    records = finished_records(run, _RESULT)
    try:
        return None if records is None else [Measurement(**record) for record in records]
    except TypeError as error:
        raise DataError(f"{run.path}: damaged results ({_RESULT}.json)") from error


def evaluate_bound(
    plan: BoundPlan,
    run: RunDirectory,
    *,
    hardware: Hardware | None = None,
    loggers: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Measurement]:
    """Evaluate what a run directory does not hold yet, and write its results.

    Args:
        plan: what to evaluate.
        run: where parts and results are kept.
        hardware: processes, device and threads.
        loggers: ``tensorboard``, ``wandb``: told the running mean ``total_bpd``, and shown the
            figures ``vb``, ``mse`` and ``xstart_mse`` at the end.
        progress: called with (images done, images in all) of this process, with fractions.

    Returns:
        ``total_bpd``, with its standard error over images and, of several draws, its deviation
        over them (``total_bpd_std_over_draws``); its parts ``pixels_bpd`` (the first step),
        ``latents_bpd`` (the others) and ``prior_bpd``. The same in every process.

    Raises:
        InterruptedWorkError: Ctrl-C or SIGTERM, with everything kept for another run.
        DataError: something cannot be read or written.
    """
    with ExitStack() as stack:
        fabric = stack.enter_context(launched(hardware or Hardware(), "32-true"))
        fabric.barrier()  # the first process has emptied or taken over the folder
        shard = Shard(fabric.global_rank, fabric.world_size)
        stack.enter_context(interruptible(run))
        opened: list[Logger] = []
        run.rewind({})
        refresh = stack.enter_context(kept_progress(run, _KEYS, "evaluate"))
        for name in loggers if shard.rank == 0 else ():
            opened.append(open_logger(name, run, 0))
            stack.callback(opened[-1].close)
        network = placed(plan.network, fabric.device)
        worker = _Worker(plan, run, network, fabric.device, shard, opened, progress, refresh)
        began = time.monotonic()
        worker.all_parts()
        run.log({"step": plan.count, "seconds": time.monotonic() - began}, name="timing")
        fabric.barrier()  # the parts of all processes are written
        parts = [load_part(_path(run, part)) for part in range(plan.parts)]
        fabric.barrier()
        measured = _keep_results(plan, run, parts)
        log_figures(run.path, opened, plan.count)
        return measured


class _Worker:
    """Evaluates the parts of one process."""

    def __init__(
        self,
        plan: BoundPlan,
        run: RunDirectory,
        network: UNet,
        device: torch.device,
        shard: Shard,
        loggers: Sequence[Logger],
        progress: Progress | None,
        refresh: Callable[[], None],
    ) -> None:
        self._plan, self._run, self._network, self._device = plan, run, network, device
        self._shard, self._loggers, self._progress = shard, loggers, progress
        self._refresh = refresh
        self._mine = range(shard.rank, plan.parts, shard.world)
        self._images_mine = sum(len(plan.indices(part)) for part in self._mine)
        self._images_done = 0

    def all_parts(self) -> None:
        """Evaluate every part that is not finished; records the mean as it runs."""
        sums = torch.zeros(2, dtype=torch.float64)
        # All processes take equally many turns, since they add up their numbers after each.
        for turn in range(math.ceil(self._plan.parts / self._shard.world)):
            part = turn * self._shard.world + self._shard.rank
            mine = torch.zeros(2, dtype=torch.float64)
            if part < self._plan.parts:
                totals = self._evaluate(part)
                mine += torch.tensor([float(totals.sum()), len(totals)], dtype=torch.float64)
                self._images_done += len(totals)
                self._tell(0.0)
            sums += sum_over_processes(mine.to(_wide(self._device))).cpu()
            self._record(float(sums[0] / sums[1]), int(sums[1]))

    def _evaluate(self, part: int) -> NDArray[np.float64]:
        """The bound of a part's images, from its file or by evaluating what is left."""
        images, indices = self._plan.images, self._plan.indices(part)

        def load() -> Batch:
            return images.load(np.array(indices)), images.labels(np.array(indices))

        return evaluate_part(
            _path(self._run, part),
            self._network,
            self._plan.diffusion,
            load,
            NoiseStream(self._plan.seed, self._plan.draw(part), indices, images.shape),
            clip=self._plan.clip,
            device=self._device,
            tell=lambda done: self._tell(done * len(indices)),
        ).totals

    def _record(self, mean: float, images: int) -> None:
        record = {"total_bpd": mean, "samples": images}
        self._run.log({"step": images, "phase": "evaluate", **record})
        self._refresh()
        for logger in self._loggers:
            logger.scalars(images, record)

    def _tell(self, further: float) -> None:
        if self._progress is not None:
            self._progress(self._images_done + further, self._images_mine)


def _keep_results(plan: BoundPlan, run: RunDirectory, parts: Sequence[Part]) -> list[Measurement]:
    """Put parts together; the first process writes the results and removes the parts."""
    whole = Part.joined(parts)
    totals = whole.totals.reshape(plan.draws, plan.count)
    measured = bound_measurements(totals, whole.spreads["vb"])
    if is_main_process():
        results = run.path / "results"
        for name, of_name in whole.spreads.items():
            save_arrays(results / f"{name}-terms.npz", of_name.to_arrays())
        save_arrays(results / "vlb-images.npz", {"total_bpd": totals})
        run.save_result(_RESULT, [one.to_json() for one in measured])
        for part in range(plan.parts):
            _path(run, part).unlink(missing_ok=True)
    return measured


def _path(run: RunDirectory, part: int) -> Path:
    return run.path / "checkpoints" / f"vlb-{part:06d}.safetensors"


def _wide(device: torch.device) -> torch.device:
    """Where sums over processes are taken: NCCL takes tensors of the GPU only."""
    return device if device.type == "cuda" else torch.device("cpu")
