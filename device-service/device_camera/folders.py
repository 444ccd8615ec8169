"""Folders of YAML and JSON files, on this machine or behind a URL (contract 6.10).

A URL names an index: a JSON list of file names, or a JSON map of them by the name of what they hold; the files lie
beside the index. Everything here may block.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml
from edgex_kit.clients.http import fetch_text
from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.redact import redact

_YAML = (".yml", ".yaml")
_KINDS = (*_YAML, ".json")


def read_folder(name: str, packaged: Path, wait: float) -> Iterator[tuple[str, Any]]:
    """Every file's place and content; other kinds of files are passed over. `wait` in seconds is for each URL.

    Raises Invalid naming the folder or the file that is wrong, Unreachable for a URL that does not answer.
    """
    if urlsplit(name).scheme in ("http", "https"):
        yield from _behind_url(name, wait)
    elif name:
        for file in sorted(find_folder(name, packaged).iterdir()):
            if file.name.lower().endswith(_KINDS) and file.is_file():
                yield str(file), _parse(str(file), _text_of(file))


def find_folder(name: str, packaged: Path) -> Path:
    """The folder of that name; `./res/...` that is not here is the one that ships with the service.

    Raises Invalid for one that does not exist.
    """
    folder = Path(name)
    shipped = packaged / folder.name if folder.parent == Path("res") else folder
    for place in (folder, shipped):
        if place.is_dir():
            return place
    raise Invalid(f"folder '{name}' does not exist (working directory {Path.cwd()})")


def _behind_url(url: str, wait: float) -> Iterator[tuple[str, Any]]:
    parts = urlsplit(url)
    index = _parse(redact(url), fetch_text(url, wait), is_yaml=False)
    names = list(index.values()) if isinstance(index, dict) else index
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid(f"{redact(url)}: a list or a map of file names expected")
    for name in names:
        beside = f"{parts.path.rpartition('/')[0]}/{name}"
        if name.lower().endswith(_KINDS):
            place = urlunsplit(parts._replace(path=beside))
            yield redact(place), _parse(redact(place), fetch_text(place, wait), is_yaml=name.lower().endswith(_YAML))


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise Invalid(f"{file} is no UTF-8 text") from error


def _parse(place: str, text: str, *, is_yaml: bool | None = None) -> Any:
    is_yaml = place.lower().endswith(_YAML) if is_yaml is None else is_yaml
    try:
        return yaml.safe_load(text) if is_yaml else json.loads(text)
    except (yaml.YAMLError, ValueError) as error:
        kind = "YAML" if is_yaml else "JSON"
        raise Invalid(f"{place} is no {kind}: {str(error).splitlines()[0]}") from error
