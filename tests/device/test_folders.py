"""Folders of files, here and behind a URL."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from device_camera.folders import find_folder, read_folder
from edgex_kit.wire.errors import Invalid, NotFound, Unreachable


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The URL of a real HTTP server of `tmp_path`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    serving.join()


def read(name: str, packaged: Path = Path("/nowhere")) -> list[tuple[str, Any]]:
    return list(read_folder(name, packaged, 2.0))


def test_yaml_and_json_are_read_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b.JSON").write_text('{"b": 1}')
    (tmp_path / "a.yml").write_text("a: 1")
    (tmp_path / "c.txt").write_text("{")
    (tmp_path / "d.yaml").mkdir()
    assert read(str(tmp_path)) == [(str(tmp_path / "a.yml"), {"a": 1}), (str(tmp_path / "b.JSON"), {"b": 1})]
    assert read("") == []


@pytest.mark.parametrize("index", ['["a.yaml", "b.json", "c.txt"]', '{"a": "a.yaml", "b": "b.json"}'])
def test_a_url_names_an_index_and_the_files_lie_beside_it(tmp_path: Path, site: str, index: str) -> None:
    folder = tmp_path / "cams"
    folder.mkdir()
    (folder / "index.json").write_text(index)
    (folder / "a.yaml").write_text("a: 1")
    (folder / "b.json").write_text("[2]")
    assert read(f"{site}/cams/index.json?token=secret1") == [
        (f"{site}/cams/a.yaml?token=***", {"a": 1}),
        (f"{site}/cams/b.json?token=***", [2]),
    ]


@pytest.mark.parametrize(("index", "why"), [("7", "a list or a map"), ("[7]", "a list or a map"), ("[", "is no JSON")])
def test_an_index_that_is_none_is_named(tmp_path: Path, site: str, index: str, why: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(Invalid, match=why):
        read(f"{site}/index.json")


def test_a_url_that_does_not_answer_is_named(site: str) -> None:
    with pytest.raises(NotFound, match=r"none\.json"):
        read(f"{site}/none.json")
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9"):
        read("http://127.0.0.1:9/index.json")


@pytest.mark.parametrize(
    ("name", "data", "why"), [("a.yaml", b"a: [", "YAML"), ("a.json", b"{", "JSON"), ("a.yml", b"\xff", "UTF-8")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Invalid, match=why) as caught:
        read(str(tmp_path))
    assert str(tmp_path / name) in str(caught.value)


def test_a_folder_here_comes_before_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    (shipped / "profiles").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_folder("./res/profiles", shipped) == shipped / "profiles"
    (tmp_path / "res/profiles").mkdir(parents=True)
    assert find_folder("./res/profiles", shipped) == Path("res/profiles")
    with pytest.raises(Invalid, match=r"folder '\./elsewhere' does not exist"):
        find_folder("./elsewhere", shipped)
