"""The configuration sections every EdgeX service has, typed; the defaults are EdgeX 4.0's own.

A service's own settings extend `Settings`. core-keeper knows only text, so conversion is lax: "59985" is an int.
"""

from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from edgex_kit.jpeg import LIMITS, Limits
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Invalid


class Section(Struct, rename="pascal", kw_only=True, frozen=True):
    """Keys as EdgeX spells them in YAML and in core-keeper: PascalCase."""


def check_durations(*texts: str) -> None:
    """For a section's `__post_init__`: raises ValueError, which is reported with the section's key."""
    for text in texts:
        try:
            parse_duration(text)
        except Invalid as error:
            raise ValueError(str(error)) from error


class CorsSection(Section, kw_only=True, frozen=True):
    """Which web pages of other origins may call us."""

    enable_cors: bool = field(default=False, name="EnableCORS")
    allow_credentials: bool = field(default=False, name="CORSAllowCredentials")
    allowed_origin: str = field(default="https://localhost", name="CORSAllowedOrigin")
    allowed_methods: str = field(default="GET, POST, PUT, PATCH, DELETE", name="CORSAllowedMethods")
    allowed_headers: str = field(
        default="Authorization, Accept, Accept-Language, Content-Language, Content-Type, X-Correlation-ID",
        name="CORSAllowedHeaders",
    )
    expose_headers: str = field(default="X-Correlation-ID", name="CORSExposeHeaders")
    max_age: int = field(default=3600, name="CORSMaxAge")  # seconds


class ServiceSection(Section, kw_only=True, frozen=True):
    """Where this service listens, and how it answers."""

    host: str = "localhost"
    port: int = 0
    server_bind_addr: str = ""
    health_check_interval: str = "10s"
    max_result_count: int = 1024
    max_request_size: int = 0  # KB; 0 is 1 MB, and more on routes that take pictures
    request_timeout: str = "5s"
    enable_name_field_escape: bool = False
    allowed_hosts: str = ""  # names besides Host and localhost by which callers may address us; * is any
    startup_msg: str = ""
    cors: CorsSection = field(default_factory=CorsSection, name="CORSConfiguration")

    def __post_init__(self) -> None:
        check_durations(self.health_check_interval, self.request_timeout)

    @property
    def timeout_s(self) -> float:
        """Seconds a request may take; 0 is no limit."""
        return parse_duration(self.request_timeout)

    @property
    def bind_host(self) -> str:
        """The address to listen on."""
        return self.server_bind_addr or self.host


class MessageBusSection(Section, kw_only=True, frozen=True):
    """Where the message broker is and how to connect to it."""

    disabled: bool = False
    type: str = "mqtt"
    protocol: str = "mqtt"
    host: str = "localhost"
    port: int = 1883
    auth_mode: str = "none"
    secret_name: str = "mqtt-bus"  # noqa: S105 - the name of a secret, EdgeX's default
    base_topic_prefix: str = "edgex"
    optional: dict[str, str] = {}


class ClientSection(Section, kw_only=True, frozen=True):
    """Where another service is."""

    protocol: str = "http"
    host: str = "localhost"
    port: int = 0

    @property
    def url(self) -> str:
        return f"{self.protocol}://{self.host}:{self.port}"


class RegistrySection(Section, kw_only=True, frozen=True):
    """Where core-keeper is; -cp says it too, and wins."""

    host: str = "localhost"
    port: int = 59890
    type: str = "keeper"


class TelemetrySection(Section, kw_only=True, frozen=True):
    """Which metrics are published, and how often."""

    interval: str = "30s"  # 0s publishes none
    metrics: dict[str, bool] = {}
    tags: dict[str, str] = {}

    def __post_init__(self) -> None:
        check_durations(self.interval)


class ImagesSection(Section, kw_only=True, frozen=True):
    """What a picture may cost: one over a limit is refused before it is decoded."""

    max_pixels: int = LIMITS.pixels
    max_scans: int = LIMITS.scans  # of a progressive JPEG
    max_size: int = LIMITS.size >> 10  # KB

    @property
    def limits(self) -> Limits:
        return Limits(self.max_pixels, self.max_scans, self.max_size << 10)


class InsecureSecret(Section, kw_only=True, frozen=True):
    """Never printed: its repr names it and no more."""

    secret_name: str = ""
    secret_data: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"InsecureSecret({self.secret_name!r})"


class WritableSection(Section, kw_only=True, frozen=True):
    """What takes effect without a restart."""

    log_level: str = "INFO"
    telemetry: TelemetrySection = field(default_factory=TelemetrySection)
    insecure_secrets: dict[str, InsecureSecret] = {}


class Settings(Section, kw_only=True, frozen=True):
    """What both services have; each adds its own sections and its own `writable`."""

    writable: WritableSection = field(default_factory=WritableSection)
    service: ServiceSection = field(default_factory=ServiceSection)
    registry: RegistrySection = field(default_factory=RegistrySection)
    message_bus: MessageBusSection = field(default_factory=MessageBusSection)
    clients: dict[str, ClientSection] = {}
    images: ImagesSection = field(default_factory=ImagesSection)
    max_event_size: int = 0  # KB of the envelope, 0 is no limit

    def client(self, name: str, port: int) -> ClientSection:
        """Where another service is; `port` is EdgeX's own when none is configured."""
        found = self.clients.get(name, ClientSection())
        return replace(found, port=found.port or port)


Tree = dict[str, Any]
