"""The running system, as the command line sees it: app-inference's status, the two documents in core-keeper, and the
model's device behind core-command."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from edgex_kit.clients.http import HttpClient
from edgex_kit.clients.keeper import ROOT, Keeper
from edgex_kit.wire.errors import Conflict, EdgexError, Malformed, NotFound, Unreachable
from edgex_kit.wire.topics import escape_name
from msgspec import Struct

from app_inference.rollout.desired import Desired, ModelRequest, desired_text, parse_desired
from app_inference.rollout.reported import ModelReport, Reported


class Available(Struct, frozen=True, kw_only=True):
    """The resource `AvailableVersions` of a model's device."""

    versions: tuple[str, ...]
    aliases: dict[str, str]


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where to ask; every call may raise Unreachable."""

    url: str
    keeper_url: str
    command_url: str
    service: str

    def status(self) -> dict[str, Any]:
        """What app-inference says of itself, its models and cameras."""
        try:
            answer = self._call("app-inference", self.url, "GET", "/api/v3/vision/status")
        except NotFound:
            answer = None
        if not isinstance(answer, dict) or "models" not in answer:
            raise Unreachable(f"{self.url} answers, but it is no app-inference")
        return answer

    def versions(self) -> dict[str, list[str]]:
        """What versions do, by `name@version`: serving, previous, candidate."""
        status = self.status()
        states: dict[str, list[str]] = {}
        for row in status["models"]:
            if row.get("version"):
                states.setdefault(f"{row.get('model', row['name'])}@{row['version']}", []).append(row["state"])
        for name, report in (status.get("updates") or {}).get("models", {}).items():
            for role in ("previous", "candidate"):
                if report.get(role):
                    states.setdefault(f"{name}@{report[role]['version']}", []).append(role)
        return states

    def quarantined(self) -> dict[str, str]:
        """The versions that are not tried again by themselves, as `name@version`, and why."""
        found: dict[str, str] = {}
        for name, report in (self.status().get("updates") or {}).get("models", {}).items():
            why = report.get("quarantineReasons", {})
            found |= {f"{name}@{version}": why.get(version, "") for version in report.get("quarantined", ())}
        return found

    def desired(self) -> Desired:
        """The desired document; an empty one where nobody has written any. Raises Invalid for one that is wrong."""
        return parse_desired(self._value("Desired"))

    def reported(self) -> Reported:
        """The reported document; an empty one where nothing was reported. Raises Malformed."""
        text = self._value("Reported")
        try:
            return msgspec.json.decode(text, type=Reported) if text.strip() else Reported()
        except msgspec.MsgspecError as error:
            raise Malformed(f"reported state of models: {error}") from error

    def report(self, name: str) -> ModelReport | None:
        """What is reported of one model."""
        return self.reported().models.get(name)

    def wish(self, name: str, wish: ModelRequest) -> Desired:
        """Write the next desired document; raises Conflict when somebody else wrote at the same time.

        core-keeper has no compare-and-set: what stands there a moment later is what counts, so it is looked at.
        """
        wanted = self.desired().with_request(name, wish)
        self._keep("Desired", desired_text(wanted))
        stands = self.desired()
        if stands != wanted:
            raise Conflict(f"generation {stands.generation} came from somebody else at the same time; try again")
        return wanted

    def command(self, name: str, command: str, values: Mapping[str, Any]) -> None:
        """Write a command of a model's device. Raises NotFound where there is no such device, and its refusal."""
        path = f"/api/v3/device/name/{escape_name(self.device(name))}/{escape_name(command)}"
        self._call("core-command", self.command_url, "PUT", path, dict(values))

    def available(self, name: str) -> Available | None:
        """What app-inference has on its disk of a model; None where its device cannot be asked."""
        path = f"/api/v3/device/name/{escape_name(self.device(name))}/AvailableVersions"
        try:
            answer = self._call("core-command", self.command_url, "GET", path)
            return msgspec.convert(answer["event"]["readings"][0]["objectValue"], Available)
        except (EdgexError, msgspec.ValidationError, LookupError, TypeError):
            return None

    def device(self, name: str) -> str:
        """The device a model is in core-metadata."""
        return f"model-{self.service}-{name}"

    def _key(self, document: str) -> str:
        return f"{ROOT}/{self.service}/Models/{document}"

    def _value(self, document: str) -> str:
        key = self._key(document)

        async def read(keeper: Keeper) -> dict[str, str]:
            return await keeper.values(key)

        return str(self._asked(read).get(key, ""))

    def _keep(self, document: str, text: str) -> None:
        async def write(keeper: Keeper) -> None:
            await keeper.put(self._key(document), text)

        self._asked(write)

    def _asked(self, ask: Any) -> Any:
        keeper = Keeper(self.keeper_url)
        try:
            return asyncio.run(ask(keeper))
        finally:
            keeper.close()

    @staticmethod
    def _call(service: str, url: str, method: str, path: str, body: Any = None) -> Any:
        client = HttpClient(url, name=service, wait=15.0)
        try:
            return client.call_now(method, path, body=body)
        finally:
            client.close()
