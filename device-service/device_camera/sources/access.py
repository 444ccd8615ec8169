"""Where cameras may be opened from: Driver.AllowedHosts and Driver.AllowedPaths. Pure, but for the links of a path.

Whoever may add a device must not reach the services of this machine, its network's link-local addresses (the metadata
of clouds) or its files through it.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from edgex_kit.wire.errors import Forbidden, Invalid

ANY = "*"


@dataclass(frozen=True, slots=True)
class Access:
    """Host names, addresses, networks and folders; `*` stands for every host that is not of this machine or link-local,
    and for every path."""

    hosts: tuple[str, ...] = (ANY, "localhost", "0.0.0.0/0", "::/0")
    paths: tuple[str, ...] = (ANY,)

    @classmethod
    def parse(cls, hosts: str, paths: str) -> "Access":
        """Of comma-separated lists. Raises Invalid for a network that is none."""
        access = cls(*(tuple(one.strip() for one in text.split(",") if one.strip()) for text in (hosts, paths)))
        for entry in access.hosts:
            if "/" in entry:
                try:
                    ipaddress.ip_network(entry, strict=False)
                except ValueError as error:
                    raise Invalid(f"AllowedHosts: a host, an address or a network expected, got '{entry}'") from error
        return access

    def check_host(self, host: str) -> None:
        """Raise Forbidden for an address, or a name of this machine, that is not allowed; other names are resolved."""
        name = host.rstrip(".").lower()
        if self._is_named(name):
            return
        if name == "localhost" or name.endswith(".localhost"):
            name = "127.0.0.1"
        try:
            address = ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return
        self.check_address(host, str(address))

    def check_address(self, host: str, text: str) -> None:
        """Raise Forbidden for an address that `host` has and that is not allowed."""
        if self._is_named(host.rstrip(".").lower()):
            return
        address = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if any(address in network for network in self._networks() if network.version == address.version):
            return
        if not address.is_loopback and not address.is_link_local and not address.is_unspecified and ANY in self.hosts:
            return
        raise Forbidden(f"host '{host}' ({address}) is not allowed (Driver.AllowedHosts)")

    def check_path(self, path: Path) -> None:
        """Raise Forbidden for a path that is, behind its links, in none of the folders."""
        if ANY in self.paths:
            return
        real = path.resolve()
        if not any(real.is_relative_to(Path(folder).resolve()) for folder in self.paths):
            raise Forbidden(f"{path}: not below an allowed folder (Driver.AllowedPaths: {', '.join(self.paths)})")

    def _is_named(self, name: str) -> bool:
        return name in (entry.lower() for entry in self.hosts if "/" not in entry)

    def _networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        return [ipaddress.ip_network(entry, strict=False) for entry in self.hosts if "/" in entry]


UNRESTRICTED = Access()
