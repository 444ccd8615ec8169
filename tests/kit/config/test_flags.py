"""The command line and environment of every EdgeX service."""

from pathlib import Path

import pytest
from edgex_kit.config.flags import Flags, parse_flags
from edgex_kit.wire.errors import Invalid

KEEPER = "keeper.http://keeper:59890"


def parse(*argv: str, **environ: str) -> Flags:
    return parse_flags(argv, environ, prog="device-camera")


@pytest.mark.parametrize(
    "argv",
    [
        (f"-cp={KEEPER}", "-r"),
        ("-cp", KEEPER, "-r"),
        (f"--cp={KEEPER}", "--registry"),
        (f"--configProvider={KEEPER}", "--r"),
        ("-r", "--configProvider", KEEPER),
    ],
)
def test_the_providers_url_may_follow_with_or_without_an_equals_sign(argv: tuple[str, ...]) -> None:
    flags = parse(*argv)
    assert flags.provider == "http://keeper:59890"
    assert flags.registry


def test_a_bare_provider_flag_is_core_keeper_on_this_machine_and_eats_no_other_flag() -> None:
    flags = parse("-cp", "-r", "-o")
    assert flags.provider == "http://localhost:59890"
    assert flags.registry
    assert flags.overwrite


def test_every_flag_is_understood_with_one_dash_and_with_two() -> None:
    short = parse("-cc=c", "-cf=f", "-cd=d", "-p=p", "-r", "-o", "-i=i", "-sk=k", "-s", "-rsh=a,b,c")
    long = parse(
        "--commonConfig=c",
        "--configFile=f",
        "--configDir=d",
        "--profile=p",
        "--registry",
        "--overwrite",
        "--instance=i",
        "--serviceKey=k",
        "--skipVersionCheck",
        "--remoteServiceHosts=a,b,c",
    )
    assert short == long
    assert short == Flags(
        common_file="c",
        config_file="f",
        config_dir="d",
        profile="p",
        registry=True,
        overwrite=True,
        instance="i",
        service_key="k",
        skip_version_check=True,
        remote_hosts=("a", "b", "c"),
    )


def test_the_environment_wins_over_flags() -> None:
    flags = parse(
        "-cp=keeper.http://flag:1",
        "-cf=flag.yaml",
        "-cd=flag",
        "-p=flag",
        "-i=flag",
        "-r",
        EDGEX_CONFIG_PROVIDER="keeper.http://env:2",
        EDGEX_CONFIG_FILE="env.yaml",
        EDGEX_CONFIG_DIR="env",
        EDGEX_PROFILE="env",
        EDGEX_INSTANCE_NAME="env",
        EDGEX_USE_REGISTRY="false",
        EDGEX_OVERWRITE_CONFIG="true",
        EDGEX_COMMON_CONFIG="common.yaml",
        EDGEX_SERVICE_KEY="app-<profile>",
        EDGEX_REMOTE_SERVICE_HOSTS="a, b, c",
        EDGEX_STARTUP_DURATION="5",
        EDGEX_STARTUP_INTERVAL="100ms",
        EDGEX_FILE_URI_TIMEOUT="3s",
    )
    assert flags == Flags(
        provider="http://env:2",
        common_file="common.yaml",
        config_file="env.yaml",
        config_dir="env",
        profile="env",
        registry=False,
        overwrite=True,
        instance="env",
        service_key="app-<profile>",
        remote_hosts=("a", "b", "c"),
        startup_s=5,
        interval_s=0.1,
        uri_wait_s=3,
    )


def test_the_environment_can_turn_the_provider_off() -> None:
    assert parse("-cp", EDGEX_CONFIG_PROVIDER="none").provider == ""


@pytest.mark.parametrize("provider", ["consul.http://localhost:8500", "http://localhost:59890", "keeper", "keeper."])
def test_a_provider_that_is_not_core_keeper_is_named(provider: str) -> None:
    with pytest.raises(Invalid, match=f"'{provider}' is not of the form keeper.http://<host>:<port>"):
        parse(f"-cp={provider}")


def test_a_start_up_time_that_is_none_is_named() -> None:
    with pytest.raises(Invalid, match="soon"):
        parse(EDGEX_STARTUP_DURATION="soon")


def test_a_word_nobody_knows_ends_the_start_with_a_usage_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("-cp", KEEPER, "stray", "-r")
    assert caught.value.code == 2
    assert "usage: device-camera" in capsys.readouterr().err


def test_hybrid_mode_is_our_address_for_others_and_this_machine_for_us() -> None:
    assert parse("-d").remote_hosts == ("", "localhost", "0.0.0.0")
    assert parse("--dev", "-rsh=a,b,c").remote_hosts == ("a", "b", "c")


@pytest.mark.parametrize(
    ("argv", "place"),
    [
        ((), "/packaged/configuration.yaml"),
        (("-cd=res",), "res/configuration.yaml"),
        (("-cf=mine.yaml",), "/packaged/mine.yaml"),
        (("-cd=res", "-p=night", "-cf=mine.yaml"), "res/night/mine.yaml"),
        (("-cf=http://host/c.yaml",), "http://host/c.yaml"),
        (("-cd=https://host/res", "-p=night"), "https://host/res/night/configuration.yaml"),
    ],
)
def test_the_private_configuration_is_where_the_flags_say(argv: tuple[str, ...], place: str) -> None:
    assert parse(*argv).config_place(Path("/packaged")) == place
