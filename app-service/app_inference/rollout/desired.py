"""The desired state: which version an operator wants of each model. One JSON document. Pure."""

from typing import Annotated, Literal

import msgspec
from edgex_kit.wire.errors import Invalid
from msgspec import Meta, Struct, field

Share = Annotated[float, Meta(ge=0, le=1)]
Strategy = Literal["swap", "canary", "shadow"]


class Part(Struct, rename="camel", frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the document; a key it does not know is a mistake in it."""


class CanaryOptions(Part, frozen=True, kw_only=True):
    """Which cameras the candidate serves before it serves all."""

    percent: Annotated[float, Meta(gt=0, le=100)] = 25.0
    cameras: tuple[str, ...] = ()  # these and no others, when given


class ObserveOptions(Part, frozen=True, kw_only=True):
    """How much the gate observes before it passes a version."""

    min_frames: Annotated[int, Meta(ge=1)] = 300  # in which either version found something
    hold_seconds: Annotated[float, Meta(ge=0)] = 30.0
    on_inconclusive: Literal["hold", "promote", "rollback"] = "hold"  # hold: an operator decides


class GateOptions(Part, frozen=True, kw_only=True):
    """Limits of the difference to the outgoing version; a candidate proved to be beyond one is rolled back."""

    compare_share: Share = 0.5  # of one core's time for analysing frames with both versions; 0: never
    min_agreement: Share = 0.9  # F1 of the objects that both find in the same frames; 0: any
    max_label_loss: Share = 0.5  # of the objects of any one label
    max_score_shift: Share = 0.25  # mean difference of the scores of one object, as a share of the higher
    max_box_shift: Share = 0.05  # mean distance of one object's boxes, as a share of the box; twice that in size
    max_error_rate: Share = 0.01
    max_p99_ratio: Annotated[float, Meta(gt=0)] = 2.0  # 99th percentile of inference time
    max_count_ratio: Annotated[float, Meta(gt=1)] = 4.0  # objects per frame, where no frame could be compared
    max_class_shift: Annotated[float, Meta(gt=0)] = 0.5  # population stability index of the class histogram


class ModelRequest(Part, frozen=True, kw_only=True):
    """The version wanted of one model, and the way to it."""

    version: str  # 1.2.3, latest, an alias, or a range such as ^1.2.0
    strategy: Strategy = "swap"
    canary: CanaryOptions = field(default_factory=CanaryOptions)
    observe: ObserveOptions = field(default_factory=ObserveOptions)
    gate: GateOptions = field(default_factory=GateOptions)
    on_fail: Literal["rollback", "hold"] = "rollback"
    threshold: Share | None = None  # live, without a swap; None: the pipeline's or the model's own
    paused: bool = False
    promoted: bool = False  # approved by an operator from the start: the gate neither holds it nor rolls it back
    retry: bool = False  # try a quarantined digest again
    allow_label_change: bool = False
    asked_by: str = ""


class Desired(Part, frozen=True, kw_only=True):
    """The whole document."""

    generation: Annotated[int, Meta(ge=0)] = 0
    models: dict[str, ModelRequest] = field(default_factory=dict)

    def with_request(self, name: str, request: ModelRequest) -> "Desired":
        """The next generation, with this request for `name`."""
        return Desired(generation=self.generation + 1, models={**self.models, name: request})


def parse_desired(text: str | bytes) -> Desired:
    """The document in `text`; an empty text requests nothing. Raises Invalid with the path of what is wrong."""
    text = text.removeprefix("\ufeff" if isinstance(text, str) else b"\xef\xbb\xbf")  # type: ignore[arg-type]
    if not text.strip():
        return Desired()
    try:
        return msgspec.json.decode(text, type=Desired)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Invalid(f"desired state of models: {error}") from error


def desired_text(desired: Desired) -> str:
    """The document as core-keeper stores it."""
    return msgspec.json.encode(desired).decode()
