"""What one camera is to do, as a value; a change is a new value."""

from dataclasses import dataclass, field

from edgex_kit.supervision import Backoff
from edgex_kit.wire.errors import Invalid

from device_camera.frame import Encoding
from device_camera.sources.factory import Credentials, SourceOptions, SourceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """One camera: where its pictures come from, how many a second go out and in which form."""

    source: SourceSpec
    fps: float = 5.0  # frames published a second; 0: every captured one
    encoding: Encoding = field(default_factory=Encoding)
    capture_fps: float = 0.0  # asked of a V4L2 camera; 0: as it likes
    loop: bool = True  # files and folders begin again at the end
    credentials: Credentials | None = None
    open_timeout: float = 10.0  # seconds
    read_timeout: float = 10.0  # seconds without a picture, then the camera is lost
    verify_tls: bool = True
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if not (0 <= self.fps <= 1000 and 0 <= self.capture_fps <= 1000):
            raise Invalid(f"frames a second from 0 to 1000 expected, got {self.fps:g} and {self.capture_fps:g}")
        if not (0 < self.open_timeout <= 300 and 0 < self.read_timeout <= 300):
            raise Invalid(
                f"time-outs above 0 up to 300 s expected, got {self.open_timeout:g} and {self.read_timeout:g}"
            )

    @property
    def source_options(self) -> SourceOptions:
        """The part of it that concerns the source."""
        return SourceOptions(
            fps=self.fps,
            capture_fps=self.capture_fps,
            size=self.encoding.size,
            follows=self.encoding.follows,
            needed=self.encoding.needed,
            loop=self.loop,
            credentials=self.credentials,
            open_timeout=self.open_timeout,
            read_timeout=self.read_timeout,
            verify_tls=self.verify_tls,
        )
