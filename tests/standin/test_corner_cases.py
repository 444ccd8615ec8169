"""520 requests to real EdgeX 4.0.2, most of them wrong in some way, and its answers, against the stand-in's."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

LISTED = 520
ABOUT = ("keys", "registry", "service", "profile", "device", "watcher", "command", "event")

Answers = dict[str, tuple[Any, Any]]

# What is different on purpose, and why
DIFFERENT = {
    "event noct": "a body of text/plain, which any web page can send, is not read",
    "event got noct": "nor is its event stored, therefore",
    "badjson": "the words for broken JSON are our decoder's",
    "NaN": "core-data breaks its own answer off at a NaN; ours says null",
    "nan": "the same",
    "offset=-1": "which of several readings of one origin comes first is PostgreSQL's chance",
    "reading/all?limit=2": "the same",
}


@pytest.fixture(scope="module")
def answers(open_standin: Any, ask: Any, wire: Any) -> Iterator[Answers]:
    """Every exchange by name: what EdgeX said, and what the stand-in says."""
    with open_standin("--state=:memory:") as edgex:
        bases = {f"core-{name}": getattr(edgex, name) for name in ("keeper", "metadata", "data", "command")}
        found: Answers = {}
        last = ""
        for exchange in wire("core_4.0.2.json")["exchanges"]:
            asked = exchange["request"]
            url = f"{bases[asked['service']]}/api/v3{asked['path']}".replace("{id}", last)
            data = asked["body"].replace("{id}", last).encode() if "body" in asked else None
            said = ask(asked["method"], url, data=data, kind=asked.get("contentType") or "application/json")
            last = _id_in(said.text) or last
            found[exchange["name"]] = (exchange["response"], said)
        yield found


def _id_in(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return ""
    return str(body.get("id", "")) if isinstance(body, dict) else ""


def _plain(text: str, timeless: Callable[[Any], Any]) -> Any:
    try:
        body = timeless(json.loads(text))
    except ValueError:
        return text.strip()
    return _without_ports(body)


def _without_ports(value: Any) -> Any:
    """core-command's own URL differs from run to run."""
    if isinstance(value, dict):
        return {key: "<url>" if key == "url" else _without_ports(item) for key, item in value.items()}
    return [_without_ports(item) for item in value] if isinstance(value, list) else value


def _about(name: str) -> str:
    word = name.split()[1]
    return word if word in ABOUT else "anything else"


def _is_different(name: str) -> bool:
    return any(words in name for words in DIFFERENT)


def test_the_recording_is_whole(answers: Answers) -> None:
    assert len(answers) == LISTED


def test_every_status_is_that_of_edgex(answers: Answers) -> None:
    pairs = {name: (real["status"], said.status) for name, (real, said) in answers.items()}
    different = {name for name, pair in pairs.items() if pair[0] != pair[1]}
    assert {name for name in different if "noct" not in name} == set()


def test_every_content_type_is_that_of_edgex(answers: Answers) -> None:
    pairs = {name: (real["contentType"], said.content_type) for name, (real, said) in answers.items()}
    assert {name: pair for name, pair in pairs.items() if pair[0] != pair[1]} == {}


@pytest.mark.parametrize("about", [*ABOUT, "anything else"])
def test_every_body_is_that_of_edgex(answers: Answers, timeless: Any, about: str) -> None:
    chosen = [name for name in answers if _about(name) == about and not _is_different(name)]
    assert len(chosen) > 10
    for name in chosen:
        real, said = answers[name]
        assert _plain(said.text, timeless) == _plain(real["body"], timeless), name


def test_every_exception_is_needed(answers: Answers, timeless: Any) -> None:
    differing = [
        name for name, (real, said) in answers.items() if _plain(said.text, timeless) != _plain(real["body"], timeless)
    ]
    assert [words for words in DIFFERENT if not any(words in name for name in differing)] == []
    assert [name for name in differing if not _is_different(name)] == []
