"""What the two services agree on.

Pure rooms: `messages` and `devices` (the wire's types), `values` with `floats` and `transforms`, `readings`, `topics`,
`codec`, `durations`, `errors`, `redact`.
Rooms with a door to the world: `bus` (MQTT), `keeper` and `metadata` (HTTP), `config`, `secrets`, `rest`, `metrics`.
`service` assembles them into a running EdgeX service; `standin` is an EdgeX core for machines without Docker.
"""

__version__ = "0.1.0"
API_VERSION = "v3"
SDK_VERSION = "4.0.1"  # the EdgeX release whose SDK contract we keep
