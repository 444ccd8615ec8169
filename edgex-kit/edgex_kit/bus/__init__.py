"""The message bus: connection, client and the queues between threads."""
