"""The command line and environment every EdgeX service has. The environment wins, as in Go.

One or two dashes both do. Unlike Go, `-cp URL` works as well as `-cp=URL`; Go reads the former as a bare `-cp` and then
ignores every flag after it.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Invalid

DEFAULT_PROVIDER = "keeper.http://localhost:59890"
_HYBRID = ",localhost,0.0.0.0"  # of -rsh: our own address, the published ports on this machine, all interfaces


@dataclass(frozen=True, slots=True)
class Flags:
    """How this process was started."""

    provider: str = ""  # URL of core-keeper, or "" for file mode
    common_file: str = ""
    config_file: str = "configuration.yaml"
    config_dir: str = ""
    profile: str = ""
    registry: bool = False
    overwrite: bool = False
    instance: str = ""
    service_key: str = ""
    skip_version_check: bool = False
    remote_hosts: tuple[str, ...] = ()  # of -rsh; an empty first one is this machine's own address
    startup_s: float = 60.0
    interval_s: float = 1.0
    uri_wait_s: float = 15.0  # for configuration that comes over HTTP

    def config_place(self, packaged: Path) -> str:
        """The private configuration: path or http(s) URI of the file asked for, else of the one in `packaged`."""
        if is_uri(self.config_file):
            return self.config_file
        return "/".join(filter(None, (self.config_dir or str(packaged), self.profile, self.config_file)))


def is_uri(place: str) -> bool:
    """Whether a file is to be fetched."""
    return place.startswith(("http://", "https://"))


def parse_flags(argv: Sequence[str], environ: Mapping[str, str] = os.environ, *, prog: str = "") -> Flags:
    """The flags of the command line and the environment. Raises Invalid for a provider that is not core-keeper."""
    known = _parser(prog).parse_args(argv)

    def text(name: str, flag: str | None) -> str:
        return environ.get(name) or flag or ""

    def on(name: str, *, flag: bool) -> bool:
        return environ[name].lower() == "true" if environ.get(name) else flag

    hosts = text("EDGEX_REMOTE_SERVICE_HOSTS", known.remote_hosts or (_HYBRID if known.hybrid else ""))
    return Flags(
        provider=_keeper_url(text("EDGEX_CONFIG_PROVIDER", known.provider)),
        common_file=text("EDGEX_COMMON_CONFIG", known.common_file),
        config_file=text("EDGEX_CONFIG_FILE", known.config_file) or "configuration.yaml",
        config_dir=text("EDGEX_CONFIG_DIR", known.config_dir),
        profile=text("EDGEX_PROFILE", known.profile),
        registry=on("EDGEX_USE_REGISTRY", flag=known.registry),
        overwrite=on("EDGEX_OVERWRITE_CONFIG", flag=known.overwrite),
        instance=text("EDGEX_INSTANCE_NAME", known.instance),
        service_key=text("EDGEX_SERVICE_KEY", known.service_key),
        skip_version_check=known.skip_version_check,
        remote_hosts=tuple(host.strip() for host in hosts.split(",")) if hosts else (),
        startup_s=_seconds(environ.get("EDGEX_STARTUP_DURATION", "60")),
        interval_s=_seconds(environ.get("EDGEX_STARTUP_INTERVAL", "1")),
        uri_wait_s=_seconds(environ.get("EDGEX_FILE_URI_TIMEOUT", "15")),
    )


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog or None, allow_abbrev=False)
    add = parser.add_argument
    add("-cp", "--cp", "--configProvider", dest="provider", nargs="?", const=DEFAULT_PROVIDER, metavar="URL",
        help="use core-keeper as configuration provider (bare: %(const)s)")  # fmt: skip
    add("-cc", "--cc", "--commonConfig", dest="common_file", metavar="FILE",
        help="common configuration, file mode only")  # fmt: skip
    add("-cf", "--cf", "--configFile", dest="config_file", metavar="FILE", help="name of the configuration file")
    add("-cd", "--cd", "--configDir", dest="config_dir", metavar="DIR", help="folder of the configuration file")
    add("-p", "--p", "--profile", dest="profile", metavar="NAME", help="sub-folder of the configuration folder")
    add("-r", "--r", "--registry", dest="registry", action="store_true", help="register in core-keeper")
    add("-o", "--o", "--overwrite", dest="overwrite", action="store_true", help="push the file over core-keeper")
    add("-i", "--i", "--instance", dest="instance", metavar="NAME", help="run as <service>_<NAME>")
    add("-sk", "--sk", "--serviceKey", dest="service_key", metavar="KEY", help="service key instead of the default")
    add("-s", "--s", "--skipVersionCheck", dest="skip_version_check", action="store_true", help="any core-metadata")
    add("-rsh", "--rsh", "--remoteServiceHosts", dest="remote_hosts", metavar="A,B,C",
        help="this host, the host of keeper, bus and other services, and the bind address")  # fmt: skip
    add("-d", "--d", "--dev", dest="hybrid", action="store_true", help="run beside an EdgeX in Docker on this machine")
    return parser


def _keeper_url(provider: str) -> str:
    if provider in ("", "none"):
        return ""
    kind, _, url = provider.partition(".")
    if kind != "keeper" or not urlsplit(url).hostname:
        raise Invalid(f"configuration provider '{provider}' is not of the form keeper.http://<host>:<port>")
    return url


def _seconds(text: str) -> float:
    """EdgeX writes whole seconds here; a duration does as well."""
    return parse_duration(text if text[-1:].isalpha() else f"{text}s")
