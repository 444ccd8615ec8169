"""A setting of all services is changed for a while: restarted both times, put back in the end."""

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.gateway import all_services_with
from tests.conformance.keys import value
from tests.conformance.peers import Core, core_of

KEY = "Service/RequestTimeout"
PATH = f"core-common-config-bootstrapper/all-services/{KEY}"


@pytest.fixture
def core(edgex: Any) -> Core:
    """Never the one that the environment names."""
    return core_of(edgex)


@pytest.fixture
def restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each restart."""
    file = tmp_path / "restarts"
    monkeypatch.setenv("EDGEX_RESTART", f"sh -c 'echo once >> {file}'")
    return file


def test_a_setting_is_put_back_when_its_block_fails_and_both_times_the_core_is_restarted(
    core: Core, restarts: Path
) -> None:
    before = value(core, PATH)
    with pytest.raises(ZeroDivisionError), all_services_with(core, KEY, "9s"):  # noqa: PT012
        assert value(core, PATH) == "9s"
        assert restarts.read_text() == "once\n"
        raise ZeroDivisionError
    assert value(core, PATH) == before != "9s"
    assert restarts.read_text() == "once\nonce\n"


def test_a_setting_that_is_so_already_needs_no_restart(core: Core, restarts: Path) -> None:
    before = value(core, PATH)
    assert before is not None
    with all_services_with(core, KEY, before):
        assert value(core, PATH) == before
    assert not restarts.exists()


def test_a_restart_that_fails_is_said_and_the_setting_is_put_back(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    before = value(core, PATH)
    monkeypatch.setenv("EDGEX_RESTART", "false")
    with pytest.raises(AssertionError, match="ended with 1"), all_services_with(core, KEY, "9s"):
        pytest.fail("the block is not run")
    assert value(core, PATH) == before


def test_without_a_command_to_restart_it_a_core_is_left_alone(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    before = value(core, PATH)
    monkeypatch.delenv("EDGEX_RESTART", raising=False)
    with pytest.raises(pytest.skip.Exception, match="EDGEX_RESTART"), all_services_with(core, KEY, "9s"):
        pytest.fail("the block is not run")
    assert value(core, PATH) == before
