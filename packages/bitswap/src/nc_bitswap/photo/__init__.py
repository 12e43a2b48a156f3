"""Whole photographs: a pyramid of lattices above a two-level Bit-Swap model."""
