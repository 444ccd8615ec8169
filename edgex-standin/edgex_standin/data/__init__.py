"""core-data: events and readings."""
