"""The settings of this service. Pipelines are a map, never a list: core-keeper loses lists (contract 4.3)."""

from edgex_kit.errors import Invalid
from edgex_kit.settings import Section, Settings, WritableSection
from msgspec import field

from app_inference.zones import Zone, parse_zone


class PipelineSection(Section, kw_only=True, frozen=True):
    """Which cameras are looked at, by which model, and what is said about it."""

    enabled: bool = True
    cameras: str = "*"  # device names, comma separated; * is every camera
    model: str = ""  # a name, name@version, or a path
    model_type: str = ""  # the decoder, for a model that does not say its type
    rate: float = 0.0  # analyses per second and camera at the most, 0 is every frame
    threshold: float | None = None  # 0..1, instead of the model's own
    labels: str = ""  # only these, comma separated; empty is all
    zones: dict[str, str] = field(default_factory=dict)  # name -> "x1,y1,x2,y2,..." corners in 0..1 of the picture
    publish_empty: bool = True  # results that found nothing are news too

    def wants(self, camera: str) -> bool:
        return self.enabled and (self.cameras.strip() == "*" or camera in _listed(self.cameras))

    @property
    def model_key(self) -> str:
        """What tells one loaded model from another: the model, and the type it was said to be."""
        return f"{self.model} as {self.model_type}" if self.model_type else self.model

    @property
    def label_set(self) -> frozenset[str]:
        return frozenset(_listed(self.labels))

    @property
    def zone_list(self) -> tuple[Zone, ...]:
        """Raises Invalid for a zone that is no polygon."""
        return tuple(parse_zone(name, corners) for name, corners in sorted(self.zones.items()))


class AppWritable(WritableSection, kw_only=True, frozen=True):
    pipelines: dict[str, PipelineSection] = field(default_factory=dict)


class TriggerSection(Section, kw_only=True, frozen=True):
    type: str = "edgex-messagebus"
    subscribe_topics: str = "frames/#"  # below the base prefix, comma separated

    @property
    def patterns(self) -> list[str]:
        return _listed(self.subscribe_topics)


class InferenceSection(Section, kw_only=True, frozen=True):
    """How models run. 0 or empty lets the service choose from the cores it may use."""

    device: str = "CPU"
    threads: int = 0  # of inference, all streams together
    streams: int = 0
    workers: int = 0
    models_dir: str = "models"
    cache_dir: str = ""  # for compiled models; empty: none are kept
    max_frame_age: str = "0s"  # older frames are dropped; needs clocks that agree. 0s: any age
    stuck_after: str = "60s"  # a frame that takes longer means that inference hangs
    outbox_size: int = 10_000  # results kept while the broker is away


class AppSettings(Settings, kw_only=True, frozen=True):
    writable: AppWritable = field(default_factory=AppWritable)
    trigger: TriggerSection = field(default_factory=TriggerSection)
    inference: InferenceSection = field(default_factory=InferenceSection)

    def check(self) -> None:
        """Raise Invalid for what types cannot say, naming the key."""
        for pipeline, section in self.writable.pipelines.items():
            key = f"Writable.Pipelines.{pipeline}"
            if section.enabled and not section.model:
                raise Invalid(f"{key}.Model is empty; name a model")
            if section.threshold is not None and not 0 <= section.threshold <= 1:
                raise Invalid(f"{key}.Threshold {section.threshold:g} is not within 0..1")
            if section.rate < 0:
                raise Invalid(f"{key}.Rate {section.rate:g} is negative")
            _ = section.zone_list


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
