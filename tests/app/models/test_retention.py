"""Old versions go, those that are needed stay."""

from pathlib import Path

import pytest
from app_inference.models.repository import Repository
from app_inference.models.retention import drop, pin, pinned, prune
from edgex_kit.wire.errors import Conflict, NotFound


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.10.0", "2.0.0-rc.1"):
        folder = tmp_path / "net" / version
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"x")
        folder.chmod(0o555)
    return Repository(tmp_path)


def test_the_newest_stay(repository: Repository) -> None:
    assert prune(repository, "net", 2) == ["1.2.0", "1.1.0", "1.0.0"]
    assert repository.versions("net") == ["2.0.0-rc.1", "1.10.0"]


def test_what_serves_or_could_serve_again_or_is_pinned_stays_and_does_not_count(repository: Repository) -> None:
    pin(repository, "net", "1.1.0")
    assert prune(repository, "net", 1, spare=lambda: ("1.0.0", "1.2.0")) == ["1.10.0"]
    assert repository.versions("net") == ["2.0.0-rc.1", "1.2.0", "1.1.0", "1.0.0"]
    assert prune(repository, "net", 0, spare=lambda: ("1.0.0",)) == ["2.0.0-rc.1", "1.2.0"]


def test_one_that_is_wanted_while_others_go_stays(repository: Repository) -> None:
    def wanted() -> list[str]:
        return ["1.1.0"] if "1.2.0" not in repository.versions("net") else []

    assert prune(repository, "net", 2, wanted) == ["1.2.0", "1.0.0"]


def test_a_pin_is_taken_out_again(repository: Repository) -> None:
    pin(repository, "net", "1.0.0")
    assert pinned(repository, "net") == {"1.0.0"}
    with pytest.raises(Conflict, match="pinned"):
        drop(repository, "net", "1.0.0")
    pin(repository, "net", "1.0.0", is_pinned=False)
    drop(repository, "net", "1.0.0")
    assert "1.0.0" not in repository.versions("net")
    with pytest.raises(NotFound):
        pin(repository, "net", "1.0.0")


def test_what_an_alias_stands_for_is_not_removed_by_hand(repository: Repository) -> None:
    repository.point("net", "stable", "1.0.0")
    with pytest.raises(Conflict, match="'stable' stands for"):
        drop(repository, "net", "1.0.0")
    repository.point("net", "stable", "1.1.0")
    drop(repository, "net", "1.0.0")
    assert "1.0.0" not in repository.versions("net")


def test_what_is_in_use_is_not_removed_by_hand(repository: Repository) -> None:
    with pytest.raises(Conflict, match=r"net@1.2.0 is in use"):
        drop(repository, "net", "1.2.0", spare=("1.2.0",))
    with pytest.raises(NotFound, match=r"no version '9.9.9'"):
        drop(repository, "net", "9.9.9")


def test_the_last_version_takes_its_model_along(repository: Repository) -> None:
    for version in repository.versions("net"):
        drop(repository, "net", version)
    assert not (repository.root / "net").exists()
