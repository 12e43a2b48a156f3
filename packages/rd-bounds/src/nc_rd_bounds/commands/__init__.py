"""The commands of ``nc run rd-bounds``."""
