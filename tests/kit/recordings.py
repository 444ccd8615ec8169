"""What EdgeX's own services said on the bus, as it was recorded."""

import json
from pathlib import Path
from typing import Any

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "wire" / "bus.json").read_text())


def label(message: dict[str, Any]) -> str:
    return "/".join(part for part in message["topic"].split("/")[1:5] if "-" not in part or len(part) < 30)


def raw(message: dict[str, Any]) -> bytes:
    return str(message["raw"]).encode()
