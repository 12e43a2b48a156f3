"""Devices and processes, by lightning-fabric, and put back as they were afterwards."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException

from nc_core.errors import UsageError
from nc_core.training.randomness import forked_generators

__all__ = ["Hardware", "check_device", "launched"]

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
_LAUNCH_VARIABLES = (
    "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "OMP_NUM_THREADS", "WORLD_SIZE"
)  # fmt: skip


@dataclass(frozen=True)
class Hardware:
    """What to train on; does not change what is computed but for rounding.

    Args:
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        devices: processes on this machine, one per device; None for what torchrun or SLURM
            say, otherwise 1.
        nodes: machines; None likewise.
        strategy: a strategy of lightning-fabric; ``auto`` is ``ddp`` for several processes.
        threads: of torch's operations on the CPU; None leaves torch's own number.
        loaders: threads that load batches ahead; 0 loads them in line.
    """

    device: str = "auto"
    devices: int | None = None
    nodes: int | None = None
    strategy: str = "auto"
    threads: int | None = None
    loaders: int = 1

    def check(self) -> None:
        """Refuse what is not there, before anything is written for it; starts no process.

        Raises:
            UsageError: no such device, or not so many.
        """
        _fabric(self, "32-true")


def check_device(device: str) -> None:
    """Refuse a device that this machine lacks.

    Args:
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.

    Raises:
        UsageError: it is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is available", "--device cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise UsageError("no MPS device is available", "--device cpu")


@contextmanager
def launched(hardware: Hardware, precision: Precision) -> Iterator[Fabric]:
    """A Fabric whose processes run, each of them inside the block.

    Where nobody else started them, this starts the other processes: they run the program from
    its beginning, with the same arguments, and arrive here too.

    Raises:
        UsageError: no such device, or not so many.
    """
    environment = {name: os.environ.get(name) for name in _LAUNCH_VARIABLES}
    threads = torch.get_num_threads()
    chatter = logging.getLogger("lightning_fabric")
    level = chatter.level
    chatter.setLevel(max(level, logging.WARNING))
    began_group = not (dist.is_available() and dist.is_initialized())
    try:
        fabric = _fabric(hardware, precision)
        fabric.launch()  # for several processes it divides the cores among them
        if hardware.threads is not None:
            torch.set_num_threads(hardware.threads)
        with forked_generators():
            yield fabric
    finally:
        if began_group and dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
        torch.set_num_threads(threads)
        chatter.setLevel(level)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _without_advice_on_slurm() -> Iterator[None]:
    """Who trains without SLURM on a machine that has it knows that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        yield


@_without_advice_on_slurm()
def _fabric(hardware: Hardware, precision: Precision) -> Fabric:
    given_devices, given_nodes = _given_by_launcher()
    devices = hardware.devices or given_devices
    nodes = hardware.nodes or given_nodes
    strategy = hardware.strategy
    if strategy == "auto" and devices * nodes > 1:
        strategy = "ddp"
    check_device(hardware.device)
    try:
        return Fabric(
            accelerator=hardware.device,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=precision,
        )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"cannot train on {devices} x '{hardware.device}': {reason}") from error


def _given_by_launcher() -> tuple[int, int]:
    """Processes per machine, and machines, as torchrun or SLURM say; (1, 1) without them."""
    environment = os.environ
    if dist.is_available() and dist.is_torchelastic_launched():
        local, world = int(environment["LOCAL_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
        return local, world // local
    if SLURMEnvironment.detect():
        nodes = int(environment.get("SLURM_NNODES", "1"))
        return int(environment.get("SLURM_NTASKS", "1")) // nodes, nodes
    return 1, 1
