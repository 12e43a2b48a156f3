"""The commands of ``nc run diffusion-bb``."""
