"""core-command: device commands over REST and the bus."""
