"""What EdgeX Foundry 4.0 services in Python share: the wire format, configuration, the bus, clients, the service frame.

Packages from the bottom: `wire` and `config` (pure), `clients`, `bus`, `service`, `device`; beside them `jpeg` (pure)
and `supervision`. README.md says what each is for.
"""

__version__ = "0.1.0"
API_VERSION = "v3"
SDK_VERSION = "4.0.1"  # the EdgeX release whose SDK contract we keep
