"""Seeded mutations of every kind of file that nc reads, and what must hold for each."""
