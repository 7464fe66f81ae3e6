"""The training loop, checkpoints, logs and pictures."""
