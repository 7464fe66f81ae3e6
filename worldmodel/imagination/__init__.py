"""Looking at a world model: dreams beside the truth, with the same and with other actions."""
