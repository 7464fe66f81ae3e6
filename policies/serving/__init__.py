"""Policies over a network: frames, sessions, batches of clients, the server."""
