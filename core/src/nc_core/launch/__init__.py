"""Sweeps: one command at many points, each in a process and a folder of its own."""

from nc_core.launch.collect import Table, collect, write_table
from nc_core.launch.grid import grid_points, parse_grids
from nc_core.launch.point import Point, PointRecord, State, read_points
from nc_core.launch.program import nc_program
from nc_core.launch.sweep import run_sweep

__all__ = [
    "Point",
    "PointRecord",
    "State",
    "Table",
    "collect",
    "grid_points",
    "nc_program",
    "parse_grids",
    "read_points",
    "run_sweep",
    "write_table",
]
