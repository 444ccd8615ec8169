"""The running system: app-inference's status, its two documents in core-keeper, and its models' devices."""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from edgex_kit.clients.http import HttpClient
from edgex_kit.clients.keeper import COMMON, ROOT, Keeper
from edgex_kit.wire.errors import Conflict, EdgexError, Malformed, NotFound, Unreachable
from edgex_kit.wire.topics import escape_name
from msgspec import Struct

from app_inference.rollout.desired import Desired, ModelRequest, desired_text, parse_desired
from app_inference.rollout.reported import ModelReport, Reported

T = TypeVar("T")


class Available(Struct, frozen=True, kw_only=True):
    """The value of the resource `AvailableVersions` of a model's device."""

    versions: tuple[str, ...]
    aliases: dict[str, str]


@dataclass(frozen=True, slots=True)
class Client:
    """Addresses of the services; every method may raise Unreachable."""

    url: str = ""
    keeper_url: str = ""
    command_url: str = ""
    service: str = ""

    def status(self) -> dict[str, Any]:
        """The status document of app-inference."""
        try:
            answer = self._call("app-inference", self.url, "GET", "/api/v3/vision/status")
        except NotFound:
            answer = None
        if not isinstance(answer, dict) or "models" not in answer:
            raise Unreachable(f"{self.url} answers, but it is no app-inference")
        return answer

    def check_service(self) -> None:
        """Raise NotFound for a service that has no keys in core-keeper: a request to it would wait for ever."""
        known = self._ask(lambda keeper: keeper.services()) - {COMMON.rpartition("/")[2]}
        if self.service in known:
            return
        near = difflib.get_close_matches(self.service, known, 1)
        meant = (
            f"; did you mean '{near[0]}'?"
            if near
            else f"; those in core-keeper are {', '.join(sorted(known)) or 'none'}"
        )
        raise NotFound(f"no service '{self.service}' has ever started with this core-keeper{meant}")

    def desired(self) -> Desired:
        """The desired document; empty where nobody has written it. Raises Invalid for a malformed one."""
        return parse_desired(self._read("Desired"))

    def reported(self) -> Reported:
        """The reported document; empty where nothing was reported. Raises Malformed."""
        text = self._read("Reported")
        try:
            return msgspec.json.decode(text, type=Reported) if text.strip() else Reported()
        except msgspec.MsgspecError as error:
            raise Malformed(f"reported state of models: {error}") from error

    def report(self, name: str) -> ModelReport | None:
        """What is reported of one model."""
        return self.reported().models.get(name)

    def request(self, name: str, request: ModelRequest) -> Desired:
        """Write the next desired document. Raises Conflict when somebody else wrote at the same time.

        core-keeper has no compare-and-set, so the document is read again afterwards.
        """
        wanted = self.desired().with_request(name, request)
        self._ask(lambda keeper: keeper.put(self._key("Desired"), desired_text(wanted)))
        found = self.desired()
        if found != wanted:
            raise Conflict(f"somebody else wrote generation {found.generation} at the same time; try again")
        return wanted

    def command(self, name: str, command: str, values: Mapping[str, Any]) -> None:
        """Write a command of a model's device. Raises NotFound where there is no such device, and its refusal."""
        path = f"/api/v3/device/name/{escape_name(self._device(name))}/{escape_name(command)}"
        self._call("core-command", self.command_url, "PUT", path, dict(values))

    def available(self, name: str) -> Available | None:
        """The versions that app-inference has of a model; None where its device does not answer."""
        path = f"/api/v3/device/name/{escape_name(self._device(name))}/AvailableVersions"
        try:
            answer = self._call("core-command", self.command_url, "GET", path)
            return msgspec.convert(answer["event"]["readings"][0]["objectValue"], Available)
        except (EdgexError, msgspec.ValidationError, LookupError, TypeError):
            return None

    def _device(self, name: str) -> str:
        return f"model-{self.service}-{name}"

    def _key(self, document: str) -> str:
        return f"{ROOT}/{self.service}/Models/{document}"

    def _read(self, document: str) -> str:
        key = self._key(document)
        return str(self._ask(lambda keeper: keeper.values(key)).get(key, ""))

    def _ask(self, ask: Callable[[Keeper], Awaitable[T]]) -> T:
        async def asked() -> T:
            return await ask(keeper)

        keeper = Keeper(self.keeper_url)
        try:
            return asyncio.run(asked())
        finally:
            keeper.close()

    @staticmethod
    def _call(service: str, url: str, method: str, path: str, body: Any = None) -> Any:
        client = HttpClient(url, name=service, wait=15.0)
        try:
            return client.call_now(method, path, body=body)
        finally:
            client.close()


def roles(status: Mapping[str, Any]) -> dict[str, list[str]]:
    """The roles of versions in a status document (serving, previous, candidate), by `name@version`."""
    found: dict[str, list[str]] = {}
    for row in status["models"]:
        if row.get("version"):
            found.setdefault(f"{row.get('model', row['name'])}@{row['version']}", []).append(row["state"])
    for name, report in _reports(status):
        for role in ("previous", "candidate"):
            if report.get(role):
                found.setdefault(f"{name}@{report[role]['version']}", []).append(role)
    return found


def quarantined(status: Mapping[str, Any]) -> dict[str, str]:
    """The quarantined versions in a status document, as `name@version`, with their reasons."""
    return {
        f"{name}@{version}": report.get("quarantineReasons", {}).get(version, "")
        for name, report in _reports(status)
        for version in report.get("quarantined", ())
    }


def _reports(status: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list((status.get("updates") or {}).get("models", {}).items())
