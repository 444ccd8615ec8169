"""The part of Triton's `config.pbtxt` that tells of a picture model: its input's size and layout, and its label file.

A configuration is text of protocol buffers: `key: value`, `key { ... }` and `key [ ..., ... ]`. All the rest of it
(instance groups, batching, ensembles) is about Triton's own running, and passed over.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app_inference.errors import ModelRejected
from app_inference.models.manifest import parse_labels
from app_inference.models.metadata.exports import Export

FILE_NAME = "config.pbtxt"

_TOKEN = re.compile(r'\s+|\#[^\n]*|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[\w.+-]+)|(?P<mark>[{}\[\]:,;])')
_LAYOUTS = {"FORMAT_NCHW": "NCHW", "FORMAT_NHWC": "NHWC"}
_DEEPEST = 32

Message = dict[str, list[Any]]  # every key with all its values


def export_from_config(text: str, path: Path) -> Export:
    """What `config.pbtxt` at `path` says of the model; raises ModelRejected."""
    try:
        config = parse_pbtxt(text)
    except ValueError as error:
        raise ModelRejected(f"{path}: {error}") from error
    return Export(FILE_NAME, {**_picture(config), **_labels(config, path)})


def parse_pbtxt(text: str) -> Message:
    """A message of text protocol buffers; raises ValueError with what is wrong."""
    return _message([*_tokens(text), "}"][::-1], 0)


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"line {text.count(chr(10), 0, at) + 1}: {text[at : at + 20]!r} is not understood")
        if match.lastgroup and match[0] not in ",;:":
            yield match[0]
        at = match.end()


def _message(rest: list[str], depth: int) -> Message:
    """Up to its closing brace; `rest` holds the tokens backwards and is used up."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    found: Message = {}
    while rest and (key := rest.pop()) != "}":
        found.setdefault(key, []).extend(_values(rest, depth))
    return found


def _values(rest: list[str], depth: int) -> list[Any]:
    if not rest:
        raise ValueError("it ends in the middle")
    word = rest.pop()
    if word == "{":
        return [_message(rest, depth + 1)]
    if word != "[":
        return [word.strip('"')]
    listed: list[Any] = []
    while rest and rest[-1] != "]":
        listed += _values(rest, depth + 1)
    if not rest:
        raise ValueError("a list is not closed")
    rest.pop()
    return listed


def _picture(config: Message) -> dict[str, Any]:
    inputs = config.get("input", [])
    if len(inputs) != 1 or not isinstance(inputs[0], dict):
        return {}
    layout = _LAYOUTS.get(inputs[0].get("format", [""])[0])
    if layout is None:
        return {}
    sides = [int(side) if re.fullmatch(r"\d+", str(side)) else 0 for side in inputs[0].get("dims", [])][-3:]
    if len(sides) != 3 or not all(sides):
        return {"layout": layout}
    height, width = sides[1:] if layout == "NCHW" else sides[:2]
    return {"layout": layout, "size": (width, height)}


def _labels(config: Message, path: Path) -> dict[str, Any]:
    outputs = (output for output in config.get("output", []) if isinstance(output, dict))
    names = [name for output in outputs for name in output.get("label_filename", [])]
    if not names:
        return {}
    file = path.parent / Path(str(names[0])).name
    try:
        return {"labels": list(parse_labels(file.read_text(encoding="utf-8")))}
    except (OSError, UnicodeDecodeError) as error:
        raise ModelRejected(f"{path}: its label_filename {file.name} cannot be read") from error
