"""The settings of this service. Pipelines are a map, never a list: core-keeper loses lists."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from edgex_kit.config.settings import Section
from edgex_kit.device.settings import DeviceSettings, DeviceWritable
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Invalid
from msgspec import field

from app_inference.inference.runtime import AUTO, PRECISIONS
from app_inference.sinks.edgex_bus import check_template
from app_inference.sinks.store import Limits
from app_inference.stages.scene import LineRule, SceneRules, SceneStage, ZoneRule, parse_line
from app_inference.stages.stage import Stage
from app_inference.stages.zones import ZoneStage, parse_zone

MESSAGE_BUS, HTTP = "edgex-messagebus", "http"


class ZoneRuleSection(Section, kw_only=True, frozen=True):
    """When an object has entered a zone, stays in it, and has left it."""

    labels: str = ""  # only these, comma separated; empty is all
    enter: str = "400ms"  # inside for this long
    leave: str = "1s"  # outside for this long
    margin: float = 0.01  # of the picture: how far beyond the edge is outside again
    dwell: str = "0s"  # a stay of this length is reported, once; 0s: never


class LineRuleSection(Section, kw_only=True, frozen=True):
    """When an object has crossed a line."""

    labels: str = ""  # only these, comma separated; empty is all
    band: float = 0.01  # of the picture: how far beyond the line counts as the other side


class SceneSection(Section, kw_only=True, frozen=True):
    """The zones and lines of one camera, in parts of its picture."""

    zones: dict[str, str] = field(default_factory=dict)  # name -> "x1,y1,x2,y2,..." corners in 0..1
    zone_rules: dict[str, ZoneRuleSection] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)  # name -> "x1,y1,x2,y2"
    line_rules: dict[str, LineRuleSection] = field(default_factory=dict)

    def rules(self, key: str) -> SceneRules:
        """Raises Invalid for what cannot be, naming the key below `key`."""
        for what, names, rules in (("Zone", self.zones, self.zone_rules), ("Line", self.lines, self.line_rules)):
            for name in rules.keys() - names.keys():
                raise Invalid(f"{key}.{what}Rules.{name}: there is no {what.lower()} '{name}' in {key}.{what}s")
        zones = tuple(self._zone(f"{key}.ZoneRules.{name}", name) for name in sorted(self.zones))
        return SceneRules(zones, tuple(self._line(f"{key}.LineRules.{name}", name) for name in sorted(self.lines)))

    def _zone(self, key: str, name: str) -> ZoneRule:
        rule = self.zone_rules.get(name, ZoneRuleSection())
        _check_part(f"{key}.Margin", rule.margin)
        seconds = (_seconds(f"{key}.{it.capitalize()}", getattr(rule, it)) for it in ("enter", "leave", "dwell"))
        enter_s, leave_s, dwell_s = seconds
        labels = frozenset(_listed(rule.labels))
        return ZoneRule(parse_zone(name, self.zones[name]), labels, enter_s, leave_s, rule.margin, dwell_s)

    def _line(self, key: str, name: str) -> LineRule:
        rule = self.line_rules.get(name, LineRuleSection())
        _check_part(f"{key}.Band", rule.band)
        return LineRule(name, *parse_line(name, self.lines[name]), frozenset(_listed(rule.labels)), rule.band)


class StageSection(Section, kw_only=True, frozen=True):
    """One step that a pipeline's objects pass through after inference."""

    kind: str = ""  # tracker
    order: int = 0
    keep: str = "1s"  # of a tracker: an object that was not seen for this long has gone

    def stage(self, key: str, pipeline: str, rules: Mapping[str, SceneRules]) -> Stage:
        """Raises Invalid, naming the key below `key`."""
        if self.kind != "tracker":
            raise Invalid(f"{key}.Kind '{self.kind}' is not known; it can be tracker")
        keep_s = _seconds(f"{key}.Keep", self.keep)
        if not 0 < keep_s <= 60:
            raise Invalid(f"{key}.Keep '{self.keep}' is not within 1ms..60s")
        return SceneStage(pipeline, keep_s, rules)


class PipelineSection(Section, kw_only=True, frozen=True):
    """Which cameras are analysed, by which model, and which results are published."""

    enabled: bool = True
    cameras: str = "*"  # device names, comma separated; * is every camera
    model: str = ""  # a name, name@version, or a path
    model_type: str = ""  # the decoder, for a model that does not state its type
    rate: float = 0.0  # analyses per second and camera at the most, 0 is every frame
    threshold: float | None = None  # 0..1, instead of the model's own
    labels: str = ""  # only these, comma separated; empty is all
    zones: dict[str, str] = field(default_factory=dict)  # name -> "x1,y1,x2,y2,..." corners in 0..1 of the picture
    stages: dict[str, StageSection] = field(default_factory=dict)  # in their Order, after the zones
    publish_empty: bool = True  # results without any object or class, too

    @property
    def model_key(self) -> str:
        """What tells one loaded model from another: the model and its configured type."""
        return f"{self.model} as {self.model_type}" if self.model_type else self.model

    @property
    def camera_set(self) -> frozenset[str] | None:
        """The cameras by name; None for every camera."""
        names = frozenset(_listed(self.cameras))
        return None if "*" in names else names

    @property
    def label_set(self) -> frozenset[str]:
        return frozenset(_listed(self.labels))

    def open_stages(self, pipeline: str, rules: Mapping[str, SceneRules]) -> tuple[Stage, ...]:
        """What its objects pass through, in order; `rules` by camera. Raises Invalid, naming the key."""
        key = f"Writable.Pipelines.{pipeline}"
        try:
            zones = (ZoneStage(self.zones),) if self.zones else ()
        except Invalid as error:
            raise Invalid(f"{key}.Zones: {error}") from error
        ordered = sorted(self.stages.items(), key=lambda item: (item[1].order, item[0]))
        if len(ordered) > 1:
            raise Invalid(f"{key}.Stages has {len(ordered)} trackers; one pipeline can have one")
        return (*zones, *(section.stage(f"{key}.Stages.{name}", pipeline, rules) for name, section in ordered))

    def check(self, key: str) -> None:
        """Raise Invalid for a value out of range, naming the key below `key`."""
        if self.enabled and not self.model.strip():
            raise Invalid(f"{key}.Model is empty; name a model")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise Invalid(f"{key}.Threshold {self.threshold:g} is not within 0..1")
        if not 0 <= self.rate < math.inf:
            raise Invalid(f"{key}.Rate {self.rate:g} is no number of pictures a second")
        self.open_stages(key.rpartition(".")[2], {})


class StoreAndForwardSection(Section, kw_only=True, frozen=True):
    """What becomes of results while the broker does not take them. The names are those of EdgeX's own section."""

    enabled: bool = True  # at the next start; false: they wait in memory alone
    max_bytes: str = "256MB"  # on disk; beyond it the oldest go
    max_age: str = "168h"  # older ones go
    min_free: str = "512MB"  # of the file system stay free
    drain_rate: float = 500.0  # stored results sent per second when the broker is back; 0: no limit

    def limits(self) -> Limits:
        """Raises Invalid, naming the key."""
        key = "Writable.StoreAndForward"
        if not 0 <= self.drain_rate < math.inf:
            raise Invalid(f"{key}.DrainRate {self.drain_rate:g} is no number of results a second")
        max_bytes, min_free = (parse_size(f"{key}.{name}", text) for name, text in
                               (("MaxBytes", self.max_bytes), ("MinFree", self.min_free)))  # fmt: skip
        return Limits(max_bytes, _seconds(f"{key}.MaxAge", self.max_age), min_free)


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def parse_size(key: str, text: str) -> int:
    """Bytes of a text such as 256MB or 1GiB. Raises Invalid, naming `key`."""
    number = text.strip().rstrip("BbKkMmGgIi")
    unit = _UNITS.get(text.strip()[len(number) :].upper())
    if unit is None or not number.strip().isdecimal():
        raise Invalid(f"{key} '{text}' is no size; expected a number with B, KB, MB or GB")
    return int(number) * unit


class AppWritable(DeviceWritable, kw_only=True, frozen=True):
    pipelines: dict[str, PipelineSection] = field(default_factory=dict)
    scenes: dict[str, SceneSection] = field(default_factory=dict)  # camera -> its zones and lines
    store_and_forward: StoreAndForwardSection = field(default_factory=StoreAndForwardSection)

    @property
    def sources(self) -> tuple[object, ...]:
        """What a plan is made from."""
        return self.pipelines, self.scenes

    def accepted(self, before: Mapping[str, PipelineSection]) -> tuple[dict[str, PipelineSection], dict[str, str]]:
        """The pipelines that are right, and the wrong ones as they were `before`, if they were; and what is wrong with
        each wrong one. One does not keep the others from changing, or the service from starting."""
        accepted, refused = {}, {}
        for key, section in self.pipelines.items():
            try:
                section.check(f"Writable.Pipelines.{key}")
                accepted[key] = section
            except Invalid as error:
                refused[key] = str(error)
                if key in before:
                    accepted[key] = before[key]
        return accepted, refused


class TriggerSection(Section, kw_only=True, frozen=True):
    type: str = MESSAGE_BUS
    subscribe_topics: str = "frames/#"  # below the base prefix, comma separated
    publish_topic: str = "events/device/{servicekey}/{profilename}/{devicename}/{sourcename}"  # empty: no output
    max_store_lag: str = "30s"  # core-data further behind with results: they are thinned. 0s: it is not watched

    @property
    def max_store_lag_s(self) -> float:
        return parse_duration(self.max_store_lag)

    @property
    def is_http(self) -> bool:
        return self.type.lower() == HTTP

    @property
    def patterns(self) -> list[str]:
        """What to subscribe to; nothing when frames come over HTTP.

        A filter that another one covers is left out: the broker may send a message once for each.
        """
        filters = [] if self.is_http else list(dict.fromkeys(_listed(self.subscribe_topics)))
        return [it for it in filters if not any(it != other and _covers(other, it) for other in filters)]

    def check(self) -> None:
        if self.type.lower() not in (MESSAGE_BUS, HTTP):
            raise Invalid(f"Trigger.Type '{self.type}' is not known here; use {MESSAGE_BUS} or {HTTP}")
        if not self.patterns and not self.is_http:
            raise Invalid("Trigger.SubscribeTopics is empty; frames/# is every camera's frames")
        check_template(self.publish_topic)
        try:
            parse_duration(self.max_store_lag)
        except Invalid as error:
            raise Invalid(f"Trigger.MaxStoreLag: {error}") from error


class InferenceSection(Section, kw_only=True, frozen=True):
    """How models run. 0 or empty lets the service choose from the cores it may use."""

    device: str = "CPU"  # or several, comma separated: the first that can
    precision: str = AUTO  # of inference: one of PRECISIONS
    threads: int = 0  # of inference, all streams together
    streams: int = 0
    workers: int = 0
    models_dir: str = "models"
    require_digests: bool = False  # refuse a version whose manifest does not list every file with its sha256
    state_dir: str = ""  # the state of updates; empty: .state in the models' folder
    cache_dir: str = ""  # for compiled models; empty: compiled in the state's folder, none: none are kept
    max_frame_age: str = "0s"  # older frames are dropped; needs clocks that agree. 0s: any age
    max_decode_time: str = "2s"  # of CPU; a camera with a picture that takes longer is suspended. 0s: none is
    stuck_after: str = "60s"  # a frame that takes longer means that inference hangs. 0s: it never does
    keep_versions: int = 5  # older than the one that serves; more go after an update. 0: all stay
    scrub_interval: str = "24h"  # between two readings of every version on disk. 0s: never
    outbox_size: int = 10_000  # results kept while the broker is away

    @property
    def stream_count(self) -> int:
        """Inferences that run at once; one thread each is steadier than one inference on many threads."""
        return self.streams or cores()

    @property
    def worker_count(self) -> int:
        """One worker on one core; otherwise one more than streams, to decode while the others infer."""
        return self.workers or (1 if cores() == 1 else self.stream_count + 1)

    @property
    def state_path(self) -> Path:
        return Path(self.state_dir) if self.state_dir else Path(self.models_dir) / ".state"

    @property
    def cache_path(self) -> Path | None:
        if self.cache_dir == "none":
            return None
        return Path(self.cache_dir) if self.cache_dir else self.state_path / "compiled"

    @property
    def max_frame_age_s(self) -> float:
        return parse_duration(self.max_frame_age)

    @property
    def max_decode_time_s(self) -> float:
        return parse_duration(self.max_decode_time)

    @property
    def stuck_after_s(self) -> float:
        return parse_duration(self.stuck_after)

    @property
    def scrub_interval_s(self) -> float:
        return parse_duration(self.scrub_interval)

    def check(self) -> None:
        for key, value in (("Threads", self.threads), ("Streams", self.streams), ("Workers", self.workers)):
            if value < 0:
                raise Invalid(f"Inference.{key} {value} is negative; 0 lets the service choose")
        if self.precision not in PRECISIONS:
            raise Invalid(f"Inference.Precision '{self.precision}' is none of {', '.join(PRECISIONS)}")
        if self.keep_versions < 0:
            raise Invalid(f"Inference.KeepVersions {self.keep_versions} is negative; 0 keeps all")
        if self.outbox_size < 1:
            raise Invalid(f"Inference.OutboxSize {self.outbox_size} holds no result; expected 1 or more")
        spans = {
            "MaxFrameAge": self.max_frame_age,
            "MaxDecodeTime": self.max_decode_time,
            "StuckAfter": self.stuck_after,
            "ScrubInterval": self.scrub_interval,
        }
        for key, text in spans.items():
            try:
                parse_duration(text)
            except Invalid as error:
                raise Invalid(f"Inference.{key}: {error}") from error


class AppSettings(DeviceSettings, kw_only=True, frozen=True):
    writable: AppWritable = field(default_factory=AppWritable)
    trigger: TriggerSection = field(default_factory=TriggerSection)
    inference: InferenceSection = field(default_factory=InferenceSection)

    def check(self) -> None:
        """Raise Invalid for a value out of range, naming the key; pipelines are checked one by one, see `accepted`."""
        self.trigger.check()
        self.inference.check()
        if self.message_bus.disabled and not self.trigger.is_http:
            trigger = f"Trigger.Type {self.trigger.type}"
            raise Invalid(f"MessageBus.Disabled is true, but {trigger} needs the bus; {HTTP} does not")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def _seconds(key: str, text: str) -> float:
    try:
        return parse_duration(text)
    except Invalid as error:
        raise Invalid(f"{key}: {error}") from error


def _check_part(key: str, value: float) -> None:
    if not 0 <= value < 0.5:
        raise Invalid(f"{key} {value:g} is not within 0..0.5")


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _covers(wide: str, narrow: str) -> bool:
    """Whether an MQTT filter covers all that another one does."""
    wanted, given = wide.split("/"), narrow.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or given[index] == "#" or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)
