"""What a model's producer says of it in a file beside it, or in the model's own properties. Pure."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Export:
    """A producer's words in our keys; weaker than a manifest, stronger than `model_info`."""

    origin: str  # the name of the file that says it
    settings: dict[str, Any] = field(default_factory=dict)
    license: str = ""
    trainer: str = ""
    created: str = ""
    description: str = ""
