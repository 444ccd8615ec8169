"""Every configuration key is described, and docs/reference/configuration.md has it."""

from collections.abc import Iterator

import msgspec
import pytest
from app_inference.settings import AppSettings
from device_camera.config import CameraService

from tests.configuration_page import FILES, PAGE, keys, page

pytestmark = pytest.mark.fault(30)


@pytest.mark.parametrize("service", FILES)
def test_every_key_has_a_description(service: str) -> None:
    found = keys(FILES[service])
    assert len(found) > 20
    assert [key.path for key in found if not key.text] == []


def test_the_page_has_the_keys_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run python -m tests.configuration_page"


@pytest.mark.parametrize("settings", [AppSettings, CameraService])
def test_the_page_has_every_key_that_a_service_reads(settings: type[msgspec.Struct]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [path for path in paths(settings) if f"`{path}`" not in text and f"`{path}." not in text] == []


def paths(settings: type[msgspec.Struct], above: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(settings):
        path = f"{above}{field.encode_name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from paths(field.type, f"{path}.")
        else:
            yield path
