"""Commands of ``nc run bitswap``, one a module."""
