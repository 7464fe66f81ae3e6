"""The robots' control modes for many environments at once, in torch."""
