"""Trajectories in: data sets, windows, normalisation, batches."""
