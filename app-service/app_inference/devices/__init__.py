"""Models as EdgeX devices: state, commands, registration."""
