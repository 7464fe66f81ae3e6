"""The video Self-Flow world model: schedule, objective, transformer, sampler, data, training."""
