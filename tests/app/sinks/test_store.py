"""app_inference.sinks.store: what was written is read again in order, whatever happened to the files."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_inference.sinks import store as message_store
from app_inference.sinks.store import Full, Limits, Message, MessageStore

TOPIC = "edgex/events/device/app-inference/detection/gate/lamps"
LIMITS = Limits(min_free=0)


def messages(first: int, count: int, size: int = 100) -> list[Message]:
    return [Message(TOPIC, b"%08d" % at + b"x" * (size - 8)) for at in range(first, first + count)]


def drained(store: MessageStore) -> list[int]:
    """The numbers of all messages, in order; the store is empty then."""
    found = []
    while (oldest := store.oldest()) is not None:
        found += [int(message.data[:8]) for message in oldest[1]]
        assert all(message.topic == TOPIC for message in oldest[1])
        store.remove(oldest[0])
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of two kilobytes."""
    monkeypatch.setattr(message_store, "SEGMENT", 2048)


def test_a_new_run_reads_in_order_what_the_one_before_has_stored(tmp_path: Path, small: None) -> None:
    store = MessageStore(tmp_path, LIMITS)
    for first in range(0, 100, 10):
        assert store.append(messages(first, 10)) == 0
    assert len(list(tmp_path.iterdir())) > 2
    again = MessageStore(tmp_path, LIMITS)
    again.append(messages(100, 10))
    assert again.count == 110
    assert drained(again) == list(range(110))
    assert list(tmp_path.iterdir()) == []


def test_what_is_put_first_comes_first(tmp_path: Path) -> None:
    store = MessageStore(tmp_path, LIMITS)
    store.append(messages(10, 5))
    store.put_first(messages(5, 5))
    store.put_first(messages(0, 5))
    assert drained(MessageStore(tmp_path, LIMITS)) == list(range(15))


@pytest.mark.parametrize("cut", [1, 50, 130, 131])
def test_a_record_that_a_crash_has_cut_off_costs_itself_alone(tmp_path: Path, cut: int) -> None:
    MessageStore(tmp_path, LIMITS).append(messages(0, 10))
    file = next(tmp_path.iterdir())
    os.truncate(file, file.stat().st_size - cut)
    store = MessageStore(tmp_path, LIMITS)
    store.append(messages(10, 2))
    assert drained(store) == [*range(9), 10, 11]


def test_a_changed_byte_ends_its_file_and_no_other(tmp_path: Path, small: None) -> None:
    store = MessageStore(tmp_path, LIMITS)
    for first in range(0, 60, 20):
        store.append(messages(first, 20))
    file = min(tmp_path.iterdir())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    left = drained(MessageStore(tmp_path, LIMITS))
    assert left[-40:] == list(range(20, 60))
    assert left[:-40] == list(range(len(left) - 40))
    assert len(left) < 60


def test_beyond_its_size_the_oldest_go_and_are_counted(tmp_path: Path, small: None) -> None:
    store = MessageStore(tmp_path, Limits(max_bytes=10_000, min_free=0))
    lost = sum(store.append(messages(first, 10)) for first in range(0, 300, 10))
    left = drained(store)
    assert left == list(range(300 - len(left), 300))
    assert (lost, len(left) >= 40) == (300 - len(left), True)


def test_what_is_too_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MessageStore(tmp_path, Limits(max_age_s=3600, min_free=0))
    store.append(messages(0, 10))
    assert store.expire() == 0
    now = time.time_ns()
    monkeypatch.setattr(message_store.time, "time_ns", lambda: now + 3601 * 10**9)
    assert (store.expire(), store.count) == (10, 0)


def test_space_that_must_stay_free_is_left_alone(tmp_path: Path) -> None:
    store = MessageStore(tmp_path, Limits(min_free=1 << 62))
    with pytest.raises(Full, match="free"):
        store.append(messages(0, 1))
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from app_inference.sinks.store import Limits, Message, MessageStore
store, at = MessageStore(Path(sys.argv[1]), Limits(min_free=0)), 0
while True:
    store.append([Message("t", b"%08d" % (at + one)) for one in range(10)])
    at += 10
    print(at, flush=True)
"""


@pytest.mark.integration
def test_what_was_written_before_kill_9_is_there(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        written = [int(next(process.stdout)) for _ in range(50)][-1]
        process.kill()
        written = max([written, *(int(line) for line in process.stdout if line.strip().isdigit())])
    left = [
        int(message.data) for _, found in [MessageStore(tmp_path, LIMITS).oldest() or (None, [])] for message in found
    ]
    assert left == list(range(len(left)))
    assert len(left) >= written


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.integration
def test_on_a_full_disk_the_oldest_make_room_and_every_loss_is_counted(
    tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_store, "SEGMENT", 32_768)
    store = MessageStore(tiny_disk, LIMITS)
    lost = sum(store.append(messages(first, 10, 1000)) for first in range(0, 600, 10))
    left = drained(MessageStore(tiny_disk, LIMITS))
    assert left == list(range(600 - len(left), 600))
    assert (lost, len(left) > 100) == (600 - len(left), True)
