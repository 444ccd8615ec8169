"""Clients of EdgeX's core services and of the secret store."""
