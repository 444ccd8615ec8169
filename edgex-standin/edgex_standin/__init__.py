"""An EdgeX core in one process, for machines without Docker and for tests."""

__version__ = "0.1.0"
