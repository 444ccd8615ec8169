"""What the two services agree on.

Pure rooms: `messages` and `devices` (the wire's types), `values` with `floats` and `transforms`, `readings`, `topics`,
`codec`, `durations`, `errors`, `redact`.
Configuration: `settings` and `config` (pure), `flags`, `provider` and `live`.
Rooms with a door to the world: `bus` (MQTT), `http`, `keeper`, `metadata`, `secrets` and `secretstore`, `rest`,
`server`, `metrics`; `ping` is the health check of containers.
`service` assembles them into a running EdgeX service; `standin` is an EdgeX core for machines without Docker.
"""

__version__ = "0.1.0"
API_VERSION = "v3"
SDK_VERSION = "4.0.1"  # the EdgeX release whose SDK contract we keep
