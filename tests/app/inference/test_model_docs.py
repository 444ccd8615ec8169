"""The reference pages name everything there is, and nothing else; every command line in them is one."""

import re
import shlex
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
import typer
from app_inference.cli.app import app
from app_inference.decoders import DECODERS
from app_inference.models.manifest import Manifest

DOCS = Path(__file__).parents[3] / "docs"
MANIFEST, MODELS = DOCS / "reference" / "manifest.md", DOCS / "reference" / "edgex-models.md"
PAGES = (MANIFEST, MODELS, DOCS / "how-to" / "use-your-own-model.md", DOCS / "how-to" / "update-a-model.md")


def keys(struct: type, before: str = "") -> Iterator[str]:
    """Every key of a manifest as the page writes it."""
    for field in msgspec.structs.fields(struct):
        inner, many = _struct_in(field.type)
        name = f"{before}{field.encode_name}"
        if inner is None:
            yield name
        else:
            yield from keys(inner, f"{name}{'[]' if many else ''}.")


def _struct_in(kind: typing.Any) -> tuple[type | None, bool]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, False
    if typing.get_origin(kind) in (list, types.UnionType, typing.Union):
        found = [it for it in typing.get_args(kind) if isinstance(it, type) and issubclass(it, msgspec.Struct)]
        return (found[0] if found else None), typing.get_origin(kind) is list
    return None, False


def lines() -> list[str]:
    """Every command line of the pages."""
    texts = (page.read_text() for page in PAGES)
    return [line.strip() for text in texts for line in re.findall(r"^ {4}(edgex-models .*)$", text, re.MULTILINE)]


def commands() -> dict[str, click.Command]:
    group = typer.main.get_command(app)
    return dict(group.commands)  # type: ignore[attr-defined]


def test_the_manifest_page_lists_every_key_and_no_other() -> None:
    table = MANIFEST.read_text().partition("## Types")[0]
    assert sorted(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == sorted(keys(Manifest))


def test_the_manifest_page_names_every_type() -> None:
    section = MANIFEST.read_text().partition("## Types")[2].partition("## Who decides")[0]
    assert {name for name in DECODERS if f"`{name}`" not in section} == set()


def test_the_command_page_names_every_command_and_option() -> None:
    text = MODELS.read_text()
    for name, command in commands().items():
        assert f"| `{name}` |" in text, name
        for option in command.params:
            long = [it for it in option.opts if it.startswith("--") and it != "--help"]
            assert all(re.search(rf"{it}\b", text) for it in long), (name, long)


@pytest.mark.parametrize("line", lines())
def test_every_command_line_on_the_pages_is_understood(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    commands()[name].make_context(name, words, resilient_parsing=False)
