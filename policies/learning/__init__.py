"""Learning a policy from demonstrations."""
