"""Folders that appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from app_inference.errors import ModelUnavailable, NoRoom
from app_inference.models.staging import clear, need_room, remove, staged
from edgex_kit.wire.errors import Conflict


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def half_done(root: Path, error: BaseException) -> None:
    with staged(root, root / "net" / "1.0.0") as stage:
        (stage.folder / "half").write_text("x")
        raise error


def test_a_folder_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "net" / "1.0.0"
    with staged(tmp_path, target) as stage:
        (stage.folder / "sub").mkdir()
        (stage.folder / "sub" / "file").write_text("x")
        assert not target.exists()
    assert (target / "sub" / "file").read_text() == "x"
    assert names(tmp_path) == ["net"]


def test_what_appeared_is_read_only(tmp_path: Path) -> None:
    with staged(tmp_path, tmp_path / "v") as stage:
        (stage.folder / "file").write_text("x")
    assert (tmp_path / "v").stat().st_mode & 0o777 == 0o555
    assert (tmp_path / "v" / "file").stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_block_that_failed(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        half_done(tmp_path, error)
    assert names(tmp_path) == []


def test_a_target_that_is_there_is_never_changed(tmp_path: Path) -> None:
    target = tmp_path / "net" / "1.0.0"
    target.mkdir(parents=True)
    (target / "old").write_text("x")
    with pytest.raises(Conflict, match="a version never changes"), staged(tmp_path, target) as stage:
        (stage.folder / "new").write_text("y")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["net"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match="the disk is full; nothing was added"):
        half_done(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ModelUnavailable, match="Permission denied"):
        half_done(tmp_path, PermissionError(errno.EACCES, "Permission denied", "x"))
    assert names(tmp_path) == []


def test_more_than_the_disk_holds_is_refused_beforehand(tmp_path: Path) -> None:
    need_room(tmp_path / "not" / "there" / "yet", 1000)
    with pytest.raises(NoRoom, match=r"1000000000000\.0 MB are needed, .* MB are free"):
        need_room(tmp_path, 10**18)


def test_what_a_dead_process_left_is_cleared_and_a_living_ones_is_not(tmp_path: Path) -> None:
    left, gone = tmp_path / ".incoming-left", tmp_path / ".gone-1.0.0"
    for folder in (left, gone):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file").write_text("x")
        (folder / "sub").chmod(0o555)
        os.utime(folder, (0, 0))
    with staged(tmp_path, tmp_path / "v") as stage:
        os.utime(stage.folder, (0, 0))
        script = "import sys, pathlib; from app_inference.models.staging import clear; clear(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
        assert stage.folder.exists()
    assert names(tmp_path) == ["v"]


def test_a_young_folder_may_not_be_held_yet(tmp_path: Path) -> None:
    (tmp_path / ".incoming-young").mkdir()
    clear(tmp_path)
    assert names(tmp_path) == [".incoming-young"]


def test_a_process_that_is_killed_leaves_no_version(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from app_inference.models.staging import staged
root = Path(sys.argv[1])
with staged(root, root / "net" / "1.0.0") as stage:
    (stage.folder / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == -9
    assert not (tmp_path / "net").exists()
    (left,) = tmp_path.iterdir()
    os.utime(left, (0, 0))
    clear(tmp_path)
    assert names(tmp_path) == []


def test_removing_what_is_gone_already_is_fine(tmp_path: Path) -> None:
    remove(tmp_path / "nowhere")
