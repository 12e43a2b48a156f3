"""Built-in sources: official test sets, image folders, NumPy files."""
