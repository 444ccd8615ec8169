import pytest
import requests
from edgex_kit.wire.errors import Invalid
from edgex_standin.batches import file_of

YAML = 'name: "käse"\r\nlabels: [a,\tb]\n\n'.encode()


def uploaded(files: dict[str, tuple[str, bytes, str]]) -> tuple[str, bytes]:
    """As requests sends it."""
    prepared = requests.Request("POST", "http://h", files=files).prepare()
    assert isinstance(prepared.body, bytes)
    return prepared.headers["Content-Type"], prepared.body


def test_a_file_comes_out_as_it_went_in() -> None:
    kind, body = uploaded({"other": ("a.txt", b"x", "text/plain"), "file": ("p.yaml", YAML, "application/x-yaml")})
    assert file_of(kind, body, "file") == YAML


def test_a_field_that_is_not_there_is_none() -> None:
    kind, body = uploaded({"other": ("a.txt", b"x", "text/plain")})
    assert file_of(kind, body, "file") is None


@pytest.mark.parametrize("kind", ["application/json", "", "multipart/form-data"])
def test_another_kind_of_body_is_refused(kind: str) -> None:
    with pytest.raises(Invalid, match="a multipart/form-data body was expected"):
        file_of(kind, b"{}", "file")
