"""The compose files hold EdgeX's conventions, and say nothing that our services would not understand."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import pytest
import yaml
from edgex_kit.config.layers import env_name, leaves

from tests.system.containers import CONFIGURATIONS, DEVICES, OURS, ROOT, SECURE, STACK, dockerfile, load, services

pytestmark = pytest.mark.system

# EdgeX 4.0.2; app-service-configurable has no release of that number.
IMAGES = {
    "database": "postgres:18.1-alpine3.22",
    "mqtt-broker": "eclipse-mosquitto:2.0.22",
    "core-keeper": "edgexfoundry/core-keeper:4.0.2",
    "core-common-config-bootstrapper": "edgexfoundry/core-common-config-bootstrapper:4.0.2",
    "core-metadata": "edgexfoundry/core-metadata:4.0.2",
    "core-data": "edgexfoundry/core-data:4.0.2",
    "core-command": "edgexfoundry/core-command:4.0.2",
    "app-rules-engine": "edgexfoundry/app-service-configurable:4.0.1",
    "rules-engine": "lfedge/ekuiper:2.3.1-alpine",
    "ui": "edgexfoundry/edgex-ui:4.0.2",
    "device-camera": f"edgex-vision/device-camera:{version('edgex-device-camera')}",
    "app-inference": f"edgex-vision/app-inference:{version('edgex-app-inference')}",
}
STARTS_AS_ROOT = {"database"}  # its start script hands over to its own user
MAY_END = {"core-common-config-bootstrapper"}
# What is no key of a configuration but read by every EdgeX service, or by EdgeX's start script in secure mode.
PROCESS_VARIABLES = re.compile(r"EDGEX_SECURITY_SECRET_STORE|SECRETSTORE_HOST|PROXY_SETUP_HOST|STAGEGATE_[A-Z_]+|"
                               r"CLIENTS_SECURITY_SECRETSTORE_SETUP_HOST")  # fmt: skip
PUBLISHED_DEFAULTS = {("database", "POSTGRES_PASSWORD", "postgres")}  # EdgeX's own, of insecure mode

every_service = pytest.mark.parametrize("name", sorted(services(STACK)))
our_services = pytest.mark.parametrize("name", sorted(OURS))


def _definition(name: str) -> dict[str, Any]:
    return services(STACK)[name]


@pytest.mark.fault(21)
def test_the_stack_is_the_release_that_we_were_tested_with() -> None:
    assert {name: service["image"] for name, service in services(STACK).items()} == IMAGES


@pytest.mark.fault(34)
@pytest.mark.parametrize("file", [STACK, SECURE])
def test_services_are_published_on_loopback_alone_and_limited(file: str) -> None:
    for name, service in services(file).items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        if file == STACK or name in OURS:
            assert service["mem_limit"], name
            assert service["pids_limit"], name


@pytest.mark.fault(34)
@pytest.mark.parametrize("file", [STACK, DEVICES, SECURE])
def test_a_compose_file_is_plain_yaml_that_podman_compose_reads_too(file: str) -> None:
    assert yaml.safe_load((ROOT / file).read_text(encoding="utf-8")) == load(file)


@every_service
def test_a_service_keeps_edgex_s_conventions(name: str) -> None:
    service = _definition(name)
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert "privileged" not in service
    assert "user" in service or name in STARTS_AS_ROOT
    assert service["hostname"] == service["container_name"]
    assert service["networks"] == ["edgex-network"]
    assert service.get("environment", {}).get("SERVICE_HOST", service["hostname"]) == service["hostname"]
    assert service["restart"] == ("on-failure" if name in MAY_END else "always")


@every_service
def test_every_service_has_a_health_check_that_asks_its_own_port(name: str) -> None:
    service = _definition(name)
    words = " ".join(map(str, service["healthcheck"]["test"]))
    own_ports = [port.rsplit(":", 1)[1] for port in service.get("ports", [])]
    asked = re.findall(r"\b\d{4,5}\b", words)
    assert set(asked) <= {*own_ports, "59890"}, "another service is asked"
    assert asked or name in ("database", "mqtt-broker"), "no port is asked"
    assert service["healthcheck"]["interval"]


@every_service
def test_a_service_waits_for_what_is_there_and_healthy(name: str) -> None:
    known = services(STACK)
    for other, how in _definition(name).get("depends_on", {}).items():
        assert known[other]["healthcheck"]
        assert how == {"condition": "service_healthy"}


@pytest.mark.parametrize("file", [STACK, DEVICES, SECURE])
def test_no_secret_is_written_down(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "-----BEGIN" not in text
    assert not re.search(r"://[^/\s:]+:[^/\s@]+@", text)
    for name, service in services(file).items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|TOKEN$|SECRETDATA", key):
                assert (name, key, value) in PUBLISHED_DEFAULTS


@pytest.mark.parametrize("file", [STACK, DEVICES, SECURE])
@our_services
def test_every_variable_is_a_key_of_our_configuration(name: str, file: str) -> None:
    keys = {env_name(path) for path, _ in leaves(yaml.safe_load(CONFIGURATIONS[name].read_text(encoding="utf-8")))}
    given = services(file).get(name, {}).get("environment", {})
    unknown = [key for key in given if key not in keys and not PROCESS_VARIABLES.fullmatch(key)]
    assert not unknown, "core-keeper's configuration would never see it"


def test_the_bootstrapper_is_told_keys_of_the_common_configuration() -> None:
    common = yaml.safe_load(files("edgex_standin.keeper").joinpath("common.yaml").read_text(encoding="utf-8"))
    keys = {env_name(path) for path, _ in leaves(common)}
    given = _definition("core-common-config-bootstrapper")["environment"]
    assert set(given) - {"EDGEX_SECURITY_SECRET_STORE"} <= keys


def test_every_host_that_is_named_is_a_service_of_the_stack() -> None:
    hosts = {service["hostname"] for service in services(STACK).values()}
    settings = {name: {**service, "image": "", "networks": ""} for name, service in services(STACK).items()}
    assert set(re.findall(r"\bedgex-[a-z-]+\b", yaml.safe_dump(settings))) <= hosts


def test_ekuiper_is_not_told_variables_it_would_take_for_a_source() -> None:
    given = _definition("rules-engine")["environment"]
    assert not [key for key in given if key.startswith("EDGEX") and not re.fullmatch(r"EDGEX(__[A-Z]+){2,3}", key)]


def test_the_database_lies_where_its_image_keeps_it() -> None:
    """From 18 on a mount at /var/lib/postgresql/data keeps the image from starting."""
    mounts = dict(entry.split(":")[:2] for entry in _definition("database")["volumes"])
    assert mounts["db-data"] == "/var/lib/postgresql"


@our_services
def test_our_services_keep_no_capability_and_write_to_tmp_and_volumes(name: str) -> None:
    service = _definition(name)
    assert service["user"] == "2002:2001"
    assert service["cap_drop"] == ["ALL"]
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    volumes = {entry.split(":")[1] for entry in service["volumes"]}
    assert {value for key, value in service["environment"].items() if key.endswith("DIR")} <= volumes


@our_services
def test_what_is_published_is_the_port_that_the_service_listens_on(name: str) -> None:
    port = yaml.safe_load(CONFIGURATIONS[name].read_text(encoding="utf-8"))["Service"]["Port"]
    assert _definition(name)["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert str(port) in _definition(name)["healthcheck"]["test"]
    assert re.search(rf"^EXPOSE {port}$", dockerfile(name), re.MULTILINE)


@our_services
def test_an_image_is_pinned_and_runs_as_nobody_special(name: str) -> None:
    text = dockerfile(name)
    assert re.search(r"^ARG PYTHON=python:3\.\d+\.\d+-slim-[a-z]+$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${PYTHON}"}
    final = text.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 2002:2001$", final, re.MULTILINE)
    assert "PYTHONDONTWRITEBYTECODE=1" in final
    check = " ".join(_definition(name)["healthcheck"]["test"][1:])
    assert check in re.sub(r'[",\[\]]', "", final[final.index("HEALTHCHECK") :].split("\n", 1)[0])


@pytest.mark.fault(34)
@our_services
def test_an_image_installs_only_what_its_hashes_name(name: str) -> None:
    for command in re.findall(r"pip\S* (?:--python \S+ )?(?:install|wheel) [^&\n]*", dockerfile(name)):
        assert "--require-hashes" in command or "--no-index" in command, command
    pinned = re.findall(
        r"^([\w.-]+)==(\S+).*\\\n +--hash=sha256:", (ROOT / OURS[name] / "requirements.txt").read_text(), re.MULTILINE
    )
    constraints = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    known = dict(re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE))
    assert {project: known.get(project, release) for project, release in pinned} == dict(pinned)
    for folder in ("edgex-kit", OURS[name]):
        wanted = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["dependencies"]
        names = {re.split(r"[^\w.-]", it, maxsplit=1)[0].lower() for it in wanted}
        assert names - {"edgex-kit"} <= {project.lower() for project, _ in pinned}


@our_services
def test_what_an_image_is_built_from_gets_past_the_docker_ignore_file(name: str) -> None:
    kept = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    copied = re.findall(r"^COPY (?!--from)(\S+) ", dockerfile(name), re.MULTILINE)
    assert all(kept & {path, path.partition("/")[0]} for path in copied)
    assert all((ROOT / path).exists() for path in kept)


def test_the_devices_file_opens_cameras_and_nothing_else() -> None:
    camera = services(DEVICES)["device-camera"]
    assert camera["device_cgroup_rules"] == ["c 81:* rw"]
    assert not {"privileged", "cap_add", "user"} & set(camera)


@our_services
def test_the_secure_file_gives_each_of_our_services_its_place(name: str) -> None:
    secure = services(SECURE)
    setup, proxy = secure["security-secretstore-setup"]["environment"], secure["security-proxy-setup"]["environment"]
    assert name in setup["EDGEX_ADD_SECRETSTORE_TOKENS"].split(",")
    assert f"message-bus[{name}]" in setup["EDGEX_ADD_KNOWN_SECRETS"].split(",")
    service, ours = _definition(name), secure[name]
    port = service["ports"][0].rsplit(":", 1)[1]
    assert f"{name}.http://{service['hostname']}:{port}" in proxy["EDGEX_ADD_PROXY_ROUTE"].split(",")
    assert ours["command"] == [name, *service["command"]]
    assert f"/tmp/edgex/secrets/{name}:/tmp/edgex/secrets/{name}:ro,z" in ours["volumes"]
    assert set(load(SECURE)["volumes"]) == {"models", "compiled-models"}
    different = {"command", "depends_on", "entrypoint", "environment", "volumes"}
    assert {key: ours[key] for key in ours if key not in different} == {
        key: service[key] for key in service if key not in different
    }
    assert set(ours["volumes"]) > set(service["volumes"])
    assert {**ours["environment"], "EDGEX_SECURITY_SECRET_STORE": "false"}.items() >= service["environment"].items()


@pytest.mark.parametrize("chosen", [[STACK], [STACK, DEVICES]])
def test_docker_compose_accepts_every_combination(chosen: list[str]) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker with its compose plugin is not installed")
    names = [argument for file in chosen for argument in ("-f", file)]
    done = subprocess.run([docker, "compose", *names, "config", "-q"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
