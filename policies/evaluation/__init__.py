"""Evaluating a policy: protocols, episodes, tables, reports."""
