"""The upper bound: beta-VAEs, and nonlinear transform coding."""
