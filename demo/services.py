"""How each part is told about this run: EdgeX's own flags and environment overrides, nothing special."""

from demo.options import Options

_INSECURE = {"EDGEX_SECURITY_SECRET_STORE": "false", "PYTHONUNBUFFERED": "1"}


def core_arguments(options: Options) -> list[str]:
    """The stand-in's command line."""
    ports = options.ports
    named = {"keeper": ports.keeper, "metadata": ports.metadata, "data": ports.data, "command": ports.command}
    return [
        *(f"--{name}-port={port}" for name, port in named.items()),
        f"--broker-port={ports.broker}",
        f"--state={options.folder / 'state'}",
    ]


def inference_environment(options: Options, model: str) -> dict[str, str]:
    """app-inference with one pipeline over every camera."""
    return {
        **_INSECURE,
        "SERVICE_PORT": str(options.ports.inference),
        "INFERENCE_MODELSDIR": str(options.folder / "models"),
        "INFERENCE_CACHEDIR": str(options.cache / "compiled"),  # a second start does not compile
        "WRITABLE_PIPELINES_DEFAULT_MODEL": model,
        "WRITABLE_PIPELINES_DEFAULT_MODELTYPE": options.model_type,
    }


def camera_environment(options: Options) -> dict[str, str]:
    """device-camera with the cameras of this run's folder."""
    return {
        **_INSECURE,
        "SERVICE_PORT": str(options.ports.camera),
        "DEVICE_DEVICESDIR": str(options.folder / "devices"),
    }
