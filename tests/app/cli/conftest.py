"""A folder of models, the command on it, and a picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.app.cli_rig import Command


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def run(models: Path) -> Command:
    return Command(models)


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A red picture."""
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((40, 60, 3), (10, 20, 200), np.uint8))
    return path
