"""The model in use under one name. It is replaced, never changed: workers take it up between two frames."""

import threading

from app_inference.model import Model, Session


class ModelSlot:
    """Holds the serving model; every worker thread gets a session of its own."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self._model = model
        self._own = threading.local()

    @property
    def model(self) -> Model:
        return self._model

    def session(self) -> tuple[Model, Session]:
        """The serving model and this thread's session with it, made anew after a replacement."""
        model = self._model
        held: tuple[Model, Session] | None = getattr(self._own, "held", None)
        if held is None or held[0] is not model:
            held = self._own.held = (model, model.session())
        return held

    def replace(self, model: Model) -> Model:
        """Serve `model` from the next frame on; gives back the one before."""
        before, self._model = self._model, model
        return before
