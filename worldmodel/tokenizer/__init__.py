"""Frames <-> tokens."""
