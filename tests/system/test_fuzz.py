"""Malformed inputs: each is read or refused with one of our errors, within 100 ms of CPU, and memory stays flat.

Inputs are mutations of valid ones (FUZZ_SEED) plus the seeds in SEEDS, which failed once. `make test-long` tries
FUZZ_INPUTS of them, a million unless it is set; an ordinary run tries a few.
"""

import contextlib
import functools
import io
import os
import random
import resource
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest
from app_inference.models.importer import unpack
from app_inference.models.manifest import parse_manifest
from app_inference.pipeline.frame import frame_from_event
from app_inference.vision.image import image_from_bytes
from device_camera.sources.mjpeg import Multipart
from edgex_kit import jpeg
from edgex_kit.wire import codec
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.messages import AddEventRequest, Event, Reading
from edgex_kit.wire.redact import redact
from edgex_kit.wire.topics import Topics
from edgex_kit.wire.values import parse_value

INPUTS = int(os.environ.get("FUZZ_INPUTS", "1000000"))
FEW = 300  # of each kind in an ordinary run
SEED = int(os.environ.get("FUZZ_SEED", "1"))
MOST_CPU = 0.1  # seconds for one input
MOST_GROWTH = 64  # MB of resident memory, over all inputs of a kind
SEEDS = {  # by kind
    "manifest": [b"provenance: " + b"{" * 5000, b"labels: " + b"[" * 100 + b"]" * 100],
    "zip": [bytes.fromhex("504b0506") + bytes(4) + b"\1\0\1\0" + b"\x2e\0\0\0" + b"\xff\xff\xff\x7f" + bytes(2)],
}

Target: TypeAlias = Callable[[bytes], object]
INTERESTING = [
    *(
        b"\0",
        b"\xff",
        b"\xff\xda",
        b"\x7f\xff\xff\xff",
        b"-1",
        b"1e999",
        b"NaN",
        b"null",
        b"9" * 500,
        b"[" * 500,
        b"{" * 500,
    ),
    *(b"../", b"\n", b"\r\n\r\n", b"\x1b[2J", b"%00", b"\xed\xa0\x80", b"!!int ''", b"&a [*a]", b"--"),
]


@functools.cache
def picture() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])


def messages() -> list[bytes]:
    """Events with a picture and with a number, in both encodings."""
    common = {"origin": 1, "device_name": "cam", "profile_name": "camera"}
    frame = Reading(
        resource_name="Frame", value_type="Binary", binary_value=picture(), media_type="image/jpeg", **common
    )
    count = Reading(resource_name="Count", value_type="Int8", value="7", **common)
    tags = {"frameId": "a", "seq": "1", "captureOrigin": "1", "fullSize": "1280x720"}
    requests = [
        AddEventRequest(event=Event(api_version="v3", id="", source_name="Frame", readings=(it,), tags=tags, **common))
        for it in (frame, count)
    ]
    encodings = (codec.PLAIN, codec.Encoding(cbor_envelope=True))
    return [codec.encode(request, encoding=encoding) for request in requests for encoding in encodings]


def bus(data: bytes) -> None:
    """A message as app-inference handles it, up to the picture."""
    frame = frame_from_event(codec.event_of(codec.decode_envelope(data)))
    image_from_bytes(frame.data)


def header(data: bytes) -> None:
    jpeg.check_limits(data, jpeg.read_header(data))
    jpeg.trimmed(data)


def stream(data: bytes) -> None:
    parts = Multipart("frame", 1 << 20)
    for start in range(0, len(data), 700):
        parts.feed(data[start : start + 700])


def archive(folder: Path, suffix: str) -> Target:
    counter = iter(range(10**9))
    place = folder / f"a{suffix}"

    def run(data: bytes) -> None:
        place.write_bytes(data)
        unpack(place, folder / str(next(counter)), 1 << 16)

    return run


def archives() -> tuple[bytes, bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as into:
        into.writestr("m/manifest.yaml", "schema: vision.model/1\n")
        into.writestr("m/model.bin", bytes(2000))
    with tarfile.open(fileobj=tarred, mode="w:gz") as into:
        info = tarfile.TarInfo("m/model.bin")
        info.size = 2000
        into.addfile(info, io.BytesIO(bytes(2000)))
    return zipped.getvalue(), tarred.getvalue()


MANIFEST = b"""schema: vision.model/1
name: street
version: 1.2.0
type: ssd
labels: [person, car]
input: {size: [300, 300], mean: [0, 0, 0], layout: NCHW}
thresholds: {confidence: 0.5}
files: [{name: model.xml, sha256: "%s", size: 12}]
provenance: {created: 2026-01-01T00:00:00Z}
""" % (b"0" * 64)
TYPES = ("Int64", "Float32", "Bool", "Object", "StringArray", "Float64Array", "Uint8")


def texts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    Topics("edgex").parse_event(f"edgex/events/device/{text}")
    redact(text)
    for kind in TYPES:
        refused(lambda kind=kind: parse_value(text, kind))
    refused(lambda: parse_duration(text))


def body(data: bytes) -> None:
    kind, _, rest = data.partition(b"\n")
    codec.decode_body(kind.decode("latin-1"), rest)


def kinds(folder: Path) -> dict[str, tuple[float, Target, list[bytes]]]:
    """Kind -> share of all inputs, what reads it, valid inputs."""
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(picture()), picture())
    zipped, tarred = archives()
    bodies = [b'application/json\n{"apiVersion": "v3", "a": [1.5, null, "x"]}', b"application/cbor\n\xa1aa\x82\x01\xf6"]
    text = [b"service/profile/cam/Frame", b"https://user:word@host/a?token=abc", b"1h30m", b"[1, 2.5, 3]", b"-0x1.8p3"]
    return {
        "bus": (0.25, bus, messages()),
        "body": (0.15, body, bodies),
        "jpeg": (0.25, header, [picture(), picture()[:400]]),
        "multipart": (0.1, stream, [part * 3 + b"--frame--\r\n", picture() * 3]),
        "text": (0.15, texts, text),
        "manifest": (0.08, parse_manifest, [MANIFEST]),
        "zip": (0.01, archive(folder, ".zip"), [zipped]),
        "tar": (0.01, archive(folder, ".tar.gz"), [tarred]),
    }


def mutated(seeds: list[bytes], rng: random.Random, count: int) -> Iterator[bytes]:
    """`count` inputs, each a valid one with one to six changes."""
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            at = rng.randrange(len(data) + 1)
            end = min(len(data), at + rng.choice((1, 2, 8, 64)))
            match rng.randrange(6):
                case 0 if at < len(data):
                    data[at] ^= 1 << rng.randrange(8)
                case 1 if at < len(data):
                    data[at] = rng.randrange(256)
                case 2:
                    del data[at:end]
                case 3:
                    data[at:at] = rng.choice(INTERESTING)
                case 4:
                    data[at:end] = rng.choice(INTERESTING)
                case _:
                    data[at:at] = data[at:end] * rng.choice((1, 2, 50))
        yield bytes(data)


def refused(run: Callable[[], object]) -> None:
    with contextlib.suppress(EdgexError):
        run()


def check(target: Target, inputs: Iterator[bytes]) -> None:
    """Give all inputs to `target`; an input that breaks a rule is in the failure's message."""
    before = 0.0
    for number, data in enumerate(inputs):
        begin = time.thread_time()
        try:
            refused(lambda data=data: target(data))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            pytest.fail(f"{type(error).__name__}: {error} by {data!r}")
        if (took := time.thread_time() - begin) > MOST_CPU:
            pytest.fail(f"{took:.2f} s of CPU by {data!r}")
        if number == FEW - 1:
            before = memory()
    assert memory() - before < MOST_GROWTH


def memory() -> float:
    """The most megabytes that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.fault(18)
@pytest.mark.parametrize("kind", kinds(Path()))
def test_a_malformed_input_is_refused_and_costs_nothing_else(kind: str, tmp_path: Path) -> None:
    _, target, seeds = kinds(tmp_path)[kind]
    check(target, iter([*SEEDS.get(kind, ()), *mutated(seeds, random.Random(SEED), FEW)]))


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", kinds(Path()))
def test_a_million_malformed_inputs_are_refused_and_cost_nothing_else(kind: str, tmp_path: Path) -> None:
    share, target, seeds = kinds(tmp_path)[kind]
    check(target, mutated(seeds, random.Random(SEED + 1), round(INPUTS * share)))
