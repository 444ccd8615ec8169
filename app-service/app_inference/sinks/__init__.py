"""Where results go: a bounded queue, and the sinks behind it."""
