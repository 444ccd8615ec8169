"""One camera: its thread, state, counters and frames; uses settings, sources, frame and timing."""
