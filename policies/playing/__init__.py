"""Playing in the dream: the simulator and the world model side by side, driven by hand."""
