"""Where vectors come from: named sources, and any dataset of numbers."""
