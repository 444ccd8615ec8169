"""`edgex-models` in this process, on the models of a folder; neither app-inference nor EdgeX answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app_inference.cli.app import app
from click.testing import Result
from edgex_standin.address import free_port
from typer.testing import CliRunner

BuildModel = Callable[..., Path]
INFO = {"model_type": "Classification", "labels": "blue green red", "license": "MIT"}


class Command:
    """The command line, with its services at the given addresses."""

    def __init__(self, folder: Path, **urls: str) -> None:
        self._environment = {"INFERENCE_MODELSDIR": str(folder), "COLUMNS": "100"}
        for name in ("models", "keeper", "command"):
            nobody = f"http://127.0.0.1:{free_port('127.0.0.1')}"
            self._environment[f"EDGEX_{name.upper()}_URL"] = urls.get(name, nobody)

    @property
    def environment(self) -> dict[str, str]:
        """The variables for a process of its own."""
        return dict(self._environment)

    def __call__(self, *words: object, code: int = 0) -> Result:
        """Run it with these words; it has to end with this exit code."""
        done = CliRunner().invoke(app, list(map(str, words)), env=self._environment)
        assert done.exit_code == code, (words, done.output, done.exception)
        return done

    def json(self, *words: object, code: int = 0) -> Any:
        """What it prints with --json."""
        return json.loads(self(*words, "--json", code=code).stdout)
