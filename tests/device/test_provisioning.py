"""Profiles, devices and watchers out of files."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import device_camera
import pytest
from device_camera.config import CameraDefaults
from device_camera.driver import GETTERS, SETTERS
from device_camera.provisioning import devices_from, find_folder, profiles_from, read_folder, watchers_from
from device_camera.settings import check_device
from edgex_kit.wire.errors import Invalid, NotFound, Unreachable

SHIPPED = Path(device_camera.__file__).parent / "res"
ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> list[tuple[str, Any]]:
    return list(read_folder(str(folder), SHIPPED, 1.0))


def test_the_shipped_profile_is_the_one_at_the_root() -> None:
    assert (SHIPPED / "profiles/camera.yaml").read_bytes() == (ROOT / "profiles/camera.yaml").read_bytes()


def test_the_shipped_profile_names_only_functions_there_are() -> None:
    (profile,) = profiles_from(contents(SHIPPED / "profiles"))
    assert profile.name == "vision-camera"
    for resource in profile.device_resources or ():
        attributes = resource.attributes or {}
        assert ("getFunction" in attributes) == resource.is_readable, resource.name
        assert ("setFunction" in attributes) == resource.is_writable, resource.name
        assert attributes.get("getFunction", "Frame") in GETTERS
        assert attributes.get("setFunction", "StopStreaming") in SETTERS
    for command in profile.device_commands or ():
        assert all(profile.resource(one.device_resource) for one in command.resource_operations)


def test_the_shipped_watcher_and_examples_can_be_read(tmp_path: Path) -> None:
    (watcher,) = watchers_from(contents(SHIPPED / "provisionwatchers"), "device-camera")
    assert watcher.service_name == "device-camera"
    example = SHIPPED / "devices/cameras.yaml.example"
    (tmp_path / "cameras.yaml").write_text(example.read_text("utf-8"))
    for device in devices_from(contents(tmp_path), "device-camera"):
        check_device(device, CameraDefaults())
    assert list(devices_from(contents(SHIPPED / "devices"), "device-camera")) == [], "examples are no devices"


def test_devices_become_ours_unlocked_and_up(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(
        "deviceList: [{name: a, serviceName: x, adminState: LOCKED, operatingState: DOWN, protocols: {}}]"
    )
    (tmp_path / "b.json").write_text('[{"name": "b", "autoEvents": [{"interval": "1s", "sourceName": "x"}]}]')
    first, second = devices_from(contents(tmp_path), "ours")
    assert (first.service_name, first.admin_state, first.operating_state) == ("ours", "UNLOCKED", "UP")
    assert (second.name, second.protocols) == ("b", {})
    assert second.auto_events is not None
    assert second.auto_events[0].source_name == "x"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.yaml", "deviceList: [{}]", "Object missing required field `name`"),
        ("a.yaml", "devices: []", "a deviceList expected"),
        ("a.yaml", "deviceList: [7]", "a device expected, got 7"),
    ],
)
def test_a_wrong_file_is_named_with_the_reason(tmp_path: Path, name: str, text: str, why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match=why) as caught:
        list(devices_from(contents(tmp_path), "s"))
    assert str(tmp_path / name) in str(caught.value)


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


@pytest.mark.integration
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
@pytest.mark.integration
def test_an_index_that_is_none_is_named(tmp_path: Path, site: str, index: str, why: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(Invalid, match=why):
        read(f"{site}/index.json")


@pytest.mark.integration
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
