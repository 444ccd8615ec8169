"""Who asks for what is being done now: the correlation id of the request, for a line that has to say so."""

from contextvars import ContextVar

correlation: ContextVar[str] = ContextVar("correlation", default="")
"""Set by the doors; each request has a context of its own."""
