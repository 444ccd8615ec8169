"""Settings, layers and command-line flags. Pure; following a provider is `edgex_kit.service`."""
