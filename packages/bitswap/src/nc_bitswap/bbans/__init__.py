"""The VAEs of BB-ANS: fully connected, one latent level, binary or grey pixels."""
