"""One camera: its thread, state, counters and frames."""
