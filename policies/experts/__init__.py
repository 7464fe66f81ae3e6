"""Scripted experts that see the simulator's state."""
