"""REST routes, the status document and the page; may import everything below `app`."""
