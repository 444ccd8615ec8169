"""core-keeper: configuration and registry."""
