"""Container health check: `python -m edgex_kit.service.ping 59985` succeeds while the service answers /api/v3/ping.

A path behind the port is called instead, such as /api/v3/vision/ready.

It calls the service's own address, SERVICE_HOST and SERVICE_PORT, since an EdgeX service listens on its host name
alone; the argument is the port when the environment has none. Standard library only, so that a check
every few seconds costs next to nothing.
"""

import http.client
import os
import sys
from collections.abc import Mapping, Sequence

TIMEOUT = 3.0  # seconds
OK = 200


def answers(host: str, port: int, path: str) -> bool:
    """Whether an EdgeX service answers there."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """0 when the service answers, 1 when it does not: the exit status of a container's health check."""
    host = environ.get("SERVICE_HOST") or "localhost"
    path = argv[2] if len(argv) > 2 else "/api/v3/ping"
    return 0 if answers(host, int(environ.get("SERVICE_PORT") or argv[1]), path) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
