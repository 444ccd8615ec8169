"""RTSP, over TCP first: the server is asked for the stream, then a process of its own reads and decodes it with FFmpeg.

Every picture is decoded, so that none waits in a buffer and grows old; a dropped one spares only its conversion.
"""

import contextlib
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from edgex_kit.wire.errors import Forbidden, Malformed, Unavailable

from device_camera.errors import cause_from_error
from device_camera.frame import Pixels
from device_camera.sources.base import Source, SourceOptions, SourceSpec
from device_camera.sources.connection import Cuts, Head, connect, time_limit
from device_camera.sources.http_auth import Challenge, build_authorization, parse_challenges
from device_camera.sources.rtsp_relay import open_relay
from device_camera.timing import SECOND, Clock

UNAUTHORIZED = 401
_USUAL_FPS = 25.0
_MOST_SKIPPED = 5.0  # seconds of stream: FFmpeg analyses no more than that before it gives the first picture
_LONGEST = 64 * 1024  # bytes of a message
_START_WAIT = 15.0  # seconds the process may take to start on a busy machine
_GRACE = 1.0  # seconds that FFmpeg may take beyond its own time-outs
_PROTOCOLS = "protocol_whitelist;rtsp,rtp,udp,tcp"


@contextmanager
def open_rtsp(spec: SourceSpec, options: SourceOptions, clock: Clock) -> Iterator[Source]:
    """The stream at an rtsp:// or rtsps:// URL. Raises Unavailable: connection refused, authentication failed, ..."""
    begin = clock.monotonic_ns()
    cause, needs_relay = probe(spec, options, clock)
    if cause:
        raise Unavailable(f"{spec}: {cause}")
    left = max(1.0, options.open_timeout - (clock.monotonic_ns() - begin) / SECOND)
    with contextlib.ExitStack() as opened:
        if needs_relay:
            try:
                url = opened.enter_context(_relayed(spec, options, clock))
            except OSError as error:
                raise Unavailable(f"{spec}: {cause_from_error(error)}") from error
        else:
            url = options.credentials.inserted(spec.location) if options.credentials else spec.location
        transport = "rtsp_transport;tcp" if needs_relay else "rtsp_flags;prefer_tcp"
        decoder = opened.enter_context(_decoder(spec, clock, transport))
        request = {
            "url": url,
            "open_ms": round(left * 1000),
            "read_ms": round(options.read_timeout * 1000),
            "pixels": options.limits.pixels,
        }
        try:
            decoder.receive(_START_WAIT)
            found, _ = decoder.ask(request, left + _GRACE)
        except TimeoutError:
            raise Unavailable(f"{spec}: {_silent_after_describe(left)}") from None
        if "error" in found:
            is_late = clock.monotonic_ns() - begin > options.open_timeout * 0.9 * SECOND
            no_video = "no video in the stream that can be decoded" if found["error"] == "no video" else found["error"]
            raise Unavailable(f"{spec}: {_silent_after_describe(options.open_timeout) if is_late else no_video}")
        source = RtspSource(spec, options, clock, decoder, found)
        source.skip_old()
        yield source


@contextmanager
def _relayed(spec: SourceSpec, options: SourceOptions, clock: Clock) -> Iterator[str]:
    """The URL of a relay to the camera."""
    with time_limit(options.open_timeout, clock) as cuts:
        connection = connect(urlsplit(spec.location), options, cuts)
    connection.wait_at_most(options.open_timeout + options.read_timeout)
    with contextlib.closing(connection), open_relay(spec, options, connection) as url:
        yield url


class DecoderProcess:
    """The parent's end of a `decoder_process`."""

    def __init__(self, spec: SourceSpec, transport: str) -> None:
        self._spec = spec
        self._socket, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "device_camera.sources.decoder_process", str(child.fileno())]
        environment = {
            "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
            "OPENCV_FFMPEG_CAPTURE_OPTIONS": f"{transport}|{_PROTOCOLS}",
            "OPENBLAS_NUM_THREADS": "1",
        }
        with child:
            # A session of its own: Ctrl-C is for the service, which closes its cameras.
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                command, pass_fds=[child.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=True, env={**os.environ, **environment},
            )  # fmt: skip

    def ask(self, request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], int | None]:
        """Its answer, and a file descriptor if one came with it. Raises TimeoutError, Unavailable when it has ended."""
        with contextlib.suppress(OSError):  # what has happened shows when the answer is read
            self._socket.send(json.dumps(request).encode())
        return self.receive(seconds)

    def receive(self, seconds: float) -> tuple[dict[str, Any], int | None]:
        """Its next message, like `ask`."""
        self._socket.settimeout(seconds)
        try:
            data, descriptors, *_ = socket.recv_fds(self._socket, _LONGEST, 1)
        except TimeoutError:
            raise
        except OSError:
            data, descriptors = b"", []
        if not data:
            raise Unavailable(f"{self._spec}: the process that decodes it has ended")
        return json.loads(data), descriptors[0] if descriptors else None

    def kill(self) -> None:
        """Any thread: end it at once, whatever it does; a request that waits for it ends as well."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._process.kill()

    def close(self) -> None:
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a process in the kernel's hands
            self._process.wait(1)
        self._socket.close()


@contextmanager
def _decoder(spec: SourceSpec, clock: Clock, transport: str) -> Iterator[DecoderProcess]:
    decoder = DecoderProcess(spec, transport)
    try:
        with clock.interruptible(decoder.kill):
            yield decoder
    finally:
        decoder.close()


class RtspSource(Source):
    """A stream that another process decodes; pictures are read from memory shared with it."""

    is_jpeg = False

    def __init__(
        self, spec: SourceSpec, options: SourceOptions, clock: Clock, decoder: DecoderProcess, found: dict[str, Any]
    ) -> None:
        self._spec = spec
        self._options = options
        self._clock = clock
        self._decoder = decoder
        self._memory: mmap.mmap | None = None
        self.native_fps = float(found["fps"])
        self.size = found["width"], found["height"]

    def skip_old(self) -> None:
        """Leave out what came while the stream was opened: it would be dated now.

        A picture from a buffer comes at once; the first one that had to be waited for is new.
        """
        interval = SECOND / (self.native_fps or _USUAL_FPS)
        for _ in range(round(_MOST_SKIPPED * (self.native_fps or _USUAL_FPS))):
            begin = self._clock.monotonic_ns()
            self.grab()
            if self._clock.monotonic_ns() - begin > interval / 4:
                return

    def grab(self) -> bool:
        begin = self._clock.monotonic_ns()
        answer = self._ask("grab")
        # After its time-out FFmpeg still hands out the picture that was left in the decoder: that one is old.
        if self._clock.monotonic_ns() - begin >= self._options.read_timeout * 0.9 * SECOND:
            raise Unavailable(f"{self._spec}: no picture for {self._options.read_timeout:g} s")
        if "error" in answer:
            raise Unavailable(f"{self._spec}: connection closed by the camera")
        return True

    def retrieve(self) -> Pixels:
        answer = self._ask("retrieve")
        if "error" in answer:
            raise Malformed(f"{self._spec}: {answer['error']}")
        if self._memory is None:
            raise Malformed(f"{self._spec}: a picture without its memory")
        height, width = answer["height"], answer["width"]
        return np.frombuffer(self._memory, np.uint8, height * width * 3).reshape(height, width, 3)

    def adapt(self, options: SourceOptions) -> bool:
        return options.credentials == self._options.credentials and options.read_timeout == self._options.read_timeout

    def _ask(self, what: str) -> dict[str, Any]:
        try:
            answer, memory = self._decoder.ask({what: True}, self._options.read_timeout + _GRACE)
        except TimeoutError:
            raise Unavailable(f"{self._spec}: no picture for {self._options.read_timeout:g} s") from None
        if memory is not None:
            self._memory = mmap.mmap(memory, 0, prot=mmap.PROT_READ)
            os.close(memory)
        return answer


def probe(spec: SourceSpec, options: SourceOptions, clock: Clock) -> tuple[str, bool]:
    """Why the server does not describe the stream, "" when it does; and whether FFmpeg cannot speak to it.

    Blocking, for the open time-out at most.
    """
    needs_relay = spec.location.lower().startswith("rtsps:")
    try:
        with time_limit(options.open_timeout, clock) as cuts:
            head = _describe(spec, options, cuts, "")
            if head.status == UNAUTHORIZED and options.credentials:
                offers = parse_challenges(head.all("www-authenticate"))
                needs_relay = needs_relay or not any(_is_known_to_ffmpeg(offer) for offer in offers)
                answer = build_authorization(offers, "DESCRIBE", spec.location, options.credentials)
                head = _describe(spec, options, cuts, answer) if answer else head
    except (Malformed, Forbidden) as error:
        return str(error), needs_relay
    except OSError as error:
        return cause_from_error(error), needs_relay
    return _cause_from(head, options), needs_relay


def _is_known_to_ffmpeg(offer: Challenge) -> bool:
    return offer.scheme == "basic" or (offer.scheme == "digest" and offer.algorithm == "MD5")


def _cause_from(head: Head, options: SourceOptions) -> str:
    if head.status in {UNAUTHORIZED, 403}:
        hint = "" if options.credentials else ": it asks for a user, none is given"
        return f"authentication failed (RTSP {head.status}){hint}"
    if head.status == 404:
        return "no such stream (RTSP 404)"
    return f"RTSP {head.status}" if head.status >= 300 else ""


def _describe(spec: SourceSpec, options: SourceOptions, cuts: Cuts, authorization: str) -> Head:
    lines = [
        f"DESCRIBE {spec.location} RTSP/1.0",
        "CSeq: 1",
        "Accept: application/sdp",
        "User-Agent: edgex-device-camera",
    ]
    with contextlib.closing(connect(urlsplit(spec.location), options, cuts)) as connection:
        connection.send([*lines, f"Authorization: {authorization}"] if authorization else lines)
        return connection.read_head("RTSP")


def _silent_after_describe(seconds: float) -> str:
    return f"no picture within {seconds:g} s, though the server describes the stream"
