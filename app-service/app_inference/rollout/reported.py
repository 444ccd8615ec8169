"""The reported state of each model: the answer to the desired state. Pure."""

import msgspec
from edgex_kit.wire.errors import Malformed
from msgspec import Struct, field

from app_inference.rollout.steps import Step

REPORTED_FILE = "reported.json"  # beside the journal


class VersionReport(Struct, rename="camel", frozen=True, omit_defaults=True):
    """One version and what it is."""

    version: str
    digest: str = ""  # first 12 digits of its sha256
    precision: str = ""
    devices: tuple[str, ...] = ()
    load_ms: float = 0.0
    is_from_cache: bool = False


class ModelReport(Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    """The state of one model."""

    state: Step = field()
    active: VersionReport | None = None
    previous: VersionReport | None = None
    candidate: VersionReport | None = None
    reason: str = ""  # why the last request was refused or rolled back, or what a rollout waits for
    refused: str = ""  # the version that was refused or rolled back
    since: str = ""  # UNIX ns in decimal, of `state`
    verdict: str = ""  # of the gate, while it observes: hold, pass, breach or inconclusive
    gate: dict[str, float] = field(default_factory=dict)  # the numbers of the last observation
    quarantined: tuple[str, ...] = ()  # versions
    quarantine_reasons: dict[str, str] = field(default_factory=dict)  # by version
    threshold: float | None = None
    undrained: int = 0  # frames that the version before still held when its time was over

    @property
    def why(self) -> str:
        """The reason for people: of a version that is gone with its number."""
        return f"{self.refused}: {self.reason}" if self.refused and self.reason else self.reason


class Reported(Struct, rename="camel", frozen=True, kw_only=True):
    """The whole document."""

    generation_seen: int = 0
    refusal: str = ""  # of the desired document itself
    models: dict[str, ModelReport] = field(default_factory=dict)


def reported_text(reported: Reported) -> str:
    """The document as core-keeper stores it."""
    return msgspec.json.encode(reported).decode()


def parse_reported(text: str | bytes) -> Reported:
    """The document in `text`; raises Malformed."""
    try:
        return msgspec.json.decode(text, type=Reported)
    except msgspec.MsgspecError as error:
        raise Malformed(f"reported state of models: {error}") from error
