"""core-metadata: devices, profiles, services, provision watchers."""
