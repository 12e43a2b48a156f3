"""Built-in evaluators: measured rates, and classical codecs to compare with."""
