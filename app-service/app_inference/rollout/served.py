"""Where the models that pipelines use are served, as updates see it."""

from typing import Protocol

from app_inference.inference.model import Model
from app_inference.pipeline.serving import ServedModel


class ServedModels(Protocol):
    """The slots by model name, and those that are wanted and empty."""

    def find(self, name: str) -> ServedModel | None:
        """The slot of a model that serves."""

    def is_missing(self, name: str) -> bool:
        """Whether a pipeline names it and no version of it could be loaded."""

    def fill(self, name: str, model: Model) -> None:
        """Let `model` serve under a name that is missing."""

    def in_use(self, name: str) -> set[str]:
        """Versions of it that serve under any name, pipelines that ask for one of their own included. On any thread."""
