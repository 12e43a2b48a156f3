"""The coder and the compressed file of the original implementation (``fhkingma/bitswap``)."""
