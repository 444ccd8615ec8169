"""A second instance of a running service."""

from pathlib import Path

import pytest
from edgex_standin.address import Address, free_port

from tests.conformance.app_process import METER, configure, run_app, save_meter
from tests.conformance.peers import until
from tests.conftest import LOOPBACK

pytestmark = pytest.mark.system


@pytest.mark.fault(11)
def test_a_second_instance_whose_port_is_taken_leaves_the_first_connected(
    broker: Address, tmp_path: Path, unique: str
) -> None:
    save_meter(tmp_path / "models")
    bus = {"Host": broker.host, "Port": broker.port, "BaseTopicPrefix": unique}
    configure(
        tmp_path,
        MessageBus=bus,
        Writable={"Pipelines": {"lamps": METER}},
        Service={"Host": LOOPBACK, "Port": free_port(LOOPBACK)},
    )
    same = {"MESSAGEBUS_OPTIONAL_CLIENTID": unique, "EDGEX_STARTUP_DURATION": "3"}
    with run_app(tmp_path, "-s", **same) as first:
        until(lambda: first.status()["isBrokerConnected"], "the first is connected")
        with run_app(tmp_path, "-s", wait=False, **same) as second:
            assert second.process.wait(30) != 0
        assert first.status()["isBrokerConnected"]
        assert first.said("the connection was lost") == []
