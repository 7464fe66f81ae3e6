"""Tables of SIMPLER's tasks: names, layouts, variants and starts; no simulator."""
