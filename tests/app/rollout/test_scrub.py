"""Bytes that turn on disk are found."""

import asyncio
import hashlib
import time
from pathlib import Path

import pytest
from app_inference.models.repository import Repository, StoredModel
from app_inference.models.staging import remove
from app_inference.rollout.scrub import Scrubber

FAST = 1e12  # bytes a second


def place(root: Path, name: str, *, listed: bool) -> Path:
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    data = name.encode() * 1000
    (folder / "model.onnx").write_bytes(data)
    if listed:
        digest = hashlib.sha256(data).hexdigest()
        (folder / "manifest.yaml").write_text(
            f"schema: vision.model/1\nname: {name}\nversion: 1.0.0\nfiles:\n"
            f"- {{name: model.onnx, size: {len(data)}, sha256: '{digest}'}}\n"
        )
    return folder / "model.onnx"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)


@pytest.mark.goal(28)
@pytest.mark.parametrize("listed", [True, False])
async def test_a_flipped_bit_is_told_once(tmp_path: Path, listed: bool) -> None:
    file = place(tmp_path, "net", listed=listed)
    place(tmp_path, "other", listed=True)
    told: list[tuple[str, str]] = []

    async def damaged(stored: StoredModel, complaint: str) -> None:
        told.append((stored.name, complaint))

    scrubber = Scrubber(Repository(tmp_path), rate=FAST)
    await scrubber.round(damaged)
    assert (told, scrubber.checked) == ([], 2)
    flip(file)
    await scrubber.round(damaged)
    await scrubber.round(damaged)
    assert len(told) == 1
    assert told[0][0] == "net"
    assert str(file) in told[0][1]
    flip(file)  # as it was
    await scrubber.round(damaged)
    flip(file)
    await scrubber.round(damaged)
    assert len(told) == 2


async def test_a_file_that_is_gone_is_damage_too(tmp_path: Path) -> None:
    file = place(tmp_path, "net", listed=True)
    (file.parent / "model.tflite").write_bytes(b"x")
    told: list[str] = []
    scrubber = Scrubber(Repository(tmp_path), rate=FAST)
    file.unlink()
    await scrubber.round(lambda _stored, complaint: told.append(complaint))
    assert "there is no such file" in told[0]


async def test_a_version_that_is_removed_while_it_is_read_is_not_damaged(tmp_path: Path) -> None:
    file = place(tmp_path, "net", listed=True)
    stored = Repository(tmp_path).version("net", "1.0.0")
    remove(file.parent)
    assert await Scrubber(Repository(tmp_path), rate=FAST).complaint(stored) == ""


async def test_reading_keeps_to_its_rate(tmp_path: Path) -> None:
    place(tmp_path, "net", listed=True)  # 3000 bytes
    started = time.monotonic()
    await Scrubber(Repository(tmp_path), rate=10_000).round(lambda _stored, _complaint: None)
    assert time.monotonic() - started >= 0.3


async def test_rounds_go_on_and_a_version_that_is_no_model_stops_none(tmp_path: Path) -> None:
    (tmp_path / "broken" / "1.0.0").mkdir(parents=True)
    place(tmp_path, "net", listed=True)
    scrubber = Scrubber(Repository(tmp_path), rate=FAST)
    running = asyncio.create_task(scrubber.run(lambda _stored, _complaint: None, every=0.01))
    async with asyncio.timeout(5):
        while scrubber.checked < 3:
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
