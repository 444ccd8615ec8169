"""REST routes, status and the page."""
