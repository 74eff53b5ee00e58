"""Which weights an application runs on, opened when they are first needed."""

from collections.abc import Callable
from pathlib import Path

from .. import BUNDLED
from ..apps import Application
from ..apps.batch.local import lanes
from ..apps.removal import Removal
from ..errors import U2ZooError
from ..rembg_models import CUSTOM, is_isnet
from ..session import MaskSession
from ..sources import in_catalog
from .limits import RefusalError

__all__ = ["Sessions"]

Open = Callable[[str, str | None], MaskSession]  # (weights, profile)


class Sessions:
    """Sessions by weights. Nothing is fetched while a request waits: what is not here is refused, with what to do.

    Args:
        open: makes a session; see `u2net_zoo.Session`.
        model, profile: for every application that names no weights of its own.
    """

    def __init__(self, open: Open, model: str | Path, profile: str | None):
        self.open, self.model, self.profile = open, str(model), profile
        self.opened: dict[str, MaskSession] = {}

    def __call__(self, kind: type[Application]) -> MaskSession:
        """The session of that application.

        Raises:
            RefusalError: 503, its weights are not here; 422, they are not of the network that it feeds.
        """
        model = self.model if kind.model == BUNDLED else kind.model
        if model not in self.opened:
            self.opened[model] = self._make(model, kind)
        feeding = kind.feeding if issubclass(kind, Removal) else None
        if feeding == CUSTOM["dis_custom"] and not is_isnet(self.opened[model], model):
            raise RefusalError(
                422,
                "model 'dis_custom': this server's weights are not known as IS-Net's; leave model out, or start it so: "
                "u2zoo serve --model FILE --profile isnet",
            )
        chosen = self.profile is not None and model == self.model
        return self.opened[model] if chosen else kind.fed(self.opened[model], model)

    def open_model(self) -> None:
        """Opens `model` now: an error is said to whom starts the server. Raises U2ZooError."""
        self.opened[self.model] = self._open(self.model)

    def _make(self, model: str, kind: type[Application]) -> MaskSession:
        entry = in_catalog(model)
        if entry and not entry.cached():
            raise RefusalError(503, f"{kind.name} needs the weights {model}; fetch them: u2zoo fetch {model}")
        try:
            return self._open(model)
        except U2ZooError as error:
            raise RefusalError(503, f"{kind.name}: {error}") from error

    def _open(self, model: str) -> MaskSession:
        session = self.open(model, self.profile if model == self.model else None)
        if session.predictor.together == 1:
            session.predictor.share(lanes())
        return session
