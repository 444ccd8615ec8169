"""`make run`: EdgeX core, camera service and inference service on this machine, and a table of what they do."""
