"""V4L2 devices of this machine: what they are and which controls they have; uses errors only."""
