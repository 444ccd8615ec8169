"""Opens a camera and a model once; one line on standard error says what is wrong with them."""

import sys
from pathlib import Path

from edgex_kit.wire.errors import EdgexError

from demo.credentials import login_from_environment


def main(source: str, model: str, model_type: str, models_dir: str) -> int:
    """Either may be empty: then it is known to be good."""
    try:
        if source:
            check_source(source)
        if model:
            check_model(model, model_type, Path(models_dir))
    except EdgexError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def check_source(source: str) -> None:
    """Take one picture; raises what it cannot."""
    from device_camera.sources.base import Credentials, SourceOptions
    from device_camera.sources.factory import open_source, parse_source
    from device_camera.timing import ThreadClock

    login = login_from_environment()
    options = SourceOptions(credentials=Credentials(*login) if login else None)
    with open_source(parse_source(source), options, ThreadClock()) as opened:
        while not opened.grab():
            pass
        opened.retrieve()


def check_model(model: str, model_type: str, models_dir: Path) -> None:
    """Load it as app-inference will; raises ModelRejected, ModelUnavailable."""
    from app_inference.inference.model import load_model
    from app_inference.models.repository import Repository

    overrides = {"type": model_type} if model_type else {}
    load_model(Repository(models_dir).find(model), overrides).close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
