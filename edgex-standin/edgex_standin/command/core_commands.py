"""What core-command says a device can do (contract 8.2). Pure."""

from typing import Any

from edgex_standin.documents import Doc


def commands_of(device: str, profile: Doc, url: str) -> list[dict[str, Any]]:
    """Device commands, then the resources no command is named after; without what is hidden."""
    commands, resources = profile.get("deviceCommands") or (), profile.get("deviceResources") or ()
    kinds = {one["name"]: one["properties"]["valueType"] for one in resources}
    found = {}
    for command in commands:
        if not command["isHidden"]:
            used = [operation["deviceResource"] for operation in command["resourceOperations"]]
            found[command["name"]] = _command(device, command["name"], command["readWrite"], used, kinds, url)
    for resource in resources:
        name = resource["name"]
        if not resource["isHidden"] and name not in found:
            found[name] = _command(device, name, resource["properties"]["readWrite"], [name], kinds, url)
    return list(found.values())


def _command(device: str, name: str, access: str, used: list[str], kinds: dict[str, str], url: str) -> dict[str, Any]:
    get, put = ({"get": True} if "R" in access else {}), ({"set": True} if "W" in access else {})
    path = f"/api/v3/device/name/{device}/{name}"  # as it is called, not as it is escaped: Go's way
    parameters = [{"resourceName": resource, "valueType": kinds[resource]} for resource in used if resource in kinds]
    return {"name": name, **get, **put, "path": path, "url": url, "parameters": parameters}
