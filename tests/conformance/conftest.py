"""A service under test and a core to test it with, known by their addresses alone.

The core is the stand-in, or the one that five variables name: EDGEX_CORE_KEEPER, EDGEX_CORE_METADATA,
EDGEX_CORE_DATA and EDGEX_CORE_COMMAND (URLs) and EDGEX_BROKER (host:port). The tests are the same.
"""

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.app_process import App, OpenApp, Stage, open_stage
from tests.conformance.go_services import go_services_folder
from tests.conformance.openers import app_opener, cameras, device_opener
from tests.conformance.peers import (
    AddCamera,
    Bus,
    Core,
    Device,
    Metadata,
    OpenDevice,
    core_of,
    named_core,
    open_bus,
    short,
)


@pytest.fixture(scope="session")
def core(request: pytest.FixtureRequest) -> Core:
    return named_core() or core_of(request.getfixturevalue("edgex"))


@pytest.fixture
def bus(core: Core) -> Iterator[Bus]:
    with open_bus(core) as bus:
        yield bus


@pytest.fixture
def metadata(core: Core) -> Metadata:
    return Metadata(core.metadata)


@pytest.fixture
def free_port() -> int:
    """A port nobody uses at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def open_device(core: Core, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDevice]:
    with device_opener(core, tmp_path_factory) as run:
        yield run


@pytest.fixture(scope="session")
def device(open_device: OpenDevice) -> Iterator[Device]:
    """A device service for all tests that need nothing special."""
    with open_device(f"cams-{uuid.uuid4().hex[:6]}") as running:
        yield running


@pytest.fixture
def add_camera(metadata: Metadata, device: Device, unique: str) -> Iterator[AddCamera]:
    with cameras(metadata, device, unique) as add:
        yield add


@pytest.fixture
def camera(add_camera: AddCamera) -> str:
    """A camera that streams a test pattern."""
    return add_camera()


@pytest.fixture(scope="session")
def open_app(core: Core, tmp_path_factory: pytest.TempPathFactory) -> OpenApp:
    return app_opener(core, tmp_path_factory)


@pytest.fixture
def stage(core: Core) -> Iterator[Stage]:
    """Shows frames to everybody, and hears everybody's results."""
    with open_stage(*core.broker) as stage:
        yield stage


@pytest.fixture
def go_services() -> Path:
    return go_services_folder()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Folders of profiles, devices and watchers to be provisioned."""
    for name in ("profiles", "devices", "watchers"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def app(open_app: OpenApp) -> Iterator[App]:
    """A service for all tests that need nothing special. It hears events of devices beside frames."""
    topics = {"Trigger": {"SubscribeTopics": "frames/#, events/#"}}
    with open_app(f"app-{short()}", "-r", sections=topics) as running:
        yield running


@pytest.fixture
def app_stage(core: Core, app: App) -> Iterator[Stage]:
    """Shows frames to everybody, and hears the results of `app` alone."""
    with open_stage(*core.broker) as stage:
        stage.service = app.key
        yield stage
