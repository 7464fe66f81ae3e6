"""SIMPLER's tasks where others look for environments: lerobot's EnvHub and vla-eval."""
