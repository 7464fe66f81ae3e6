"""The robots and their controllers."""
