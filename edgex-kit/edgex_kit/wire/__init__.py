"""EdgeX messages and values as they are on the wire. Pure: no I/O, no threads."""
