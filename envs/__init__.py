"""SIMPLER's tasks on ManiSkill 3, with rollouts, recorders and data collection."""
