"""What tests of `edgex-models` on this machine's disk stand on: the command, and nobody who answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from app_inference.cli.app import app
from click.testing import Result
from edgex_standin.address import free_port
from typer.testing import CliRunner

BuildModel = Callable[..., Path]
Run = Callable[..., Result]  # words, and the exit code they are to end with
INFO = {"model_type": "Classification", "labels": "blue green red", "license": "MIT"}


def open_command(models: Path) -> Run:
    """`edgex-models` in this process on the models of a folder; neither app-inference nor EdgeX answers."""
    environment = {
        "INFERENCE_MODELSDIR": str(models),
        **{f"EDGEX_{name}_URL": f"http://127.0.0.1:{free_port('127.0.0.1')}" for name in ("MODELS", "KEEPER")},
        "COLUMNS": "100",
    }

    def invoke(*words: object, code: int = 0) -> Result:
        done = CliRunner().invoke(app, list(map(str, words)), env=environment)
        assert done.exit_code == code, (words, done.output, done.exception)
        return done

    return invoke


def said(done: Result) -> Any:
    """What it said with --json."""
    return json.loads(done.stdout)


def write_red(folder: Path) -> Path:
    """A red picture."""
    path = folder / "red.png"
    cv2.imwrite(str(path), np.full((40, 60, 3), (10, 20, 200), np.uint8))
    return path
