"""The lower bound: Csiszar's dual with a network for the multiplier."""
