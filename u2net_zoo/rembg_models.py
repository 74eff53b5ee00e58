"""rembg's names of models: which of the catalog's weights they are, and how rembg feeds them."""

from collections.abc import Mapping
from dataclasses import replace

from . import BUNDLED
from .errors import OptionError, UnknownNameError
from .preprocessing import HALF, IMAGENET_MEAN, ONE, PROFILES, Profile
from .session import MaskSession
from .sources import in_catalog

__all__ = ["CUSTOM", "MODELS", "check_name", "fed_as_rembg", "is_isnet"]

REMBG = PROFILES["rembg"]
DIS = replace(REMBG, size=1024, mean=HALF, std=ONE, source="rembg's IS-Net sessions")
ANIME = replace(DIS, mean=IMAGENET_MEAN, source="rembg's session for isnet-anime")
# By rembg's name, which is the catalog's. None: as the catalog says. rembg normalises photographs of clothes by other
# statistics than these weights were trained with and resizes the map of classes as if it held grey levels.
MODELS: Mapping[str, Profile | None] = {
    "u2net": REMBG,
    "u2netp": REMBG,
    "u2net_human_seg": REMBG,
    "u2net_cloth_seg": None,
    "silueta": REMBG,
    "isnet-general-use": DIS,
    "isnet-anime": ANIME,
    BUNDLED: None,  # ours: rembg has none of that name
}
CUSTOM: Mapping[str, Profile] = {"u2net_custom": REMBG, "dis_custom": DIS}  # weights that people bring along
# Networks of other families, and services on the network, as of rembg 2.0.86.
ELSEWHERE = (
    "birefnet-general", "birefnet-general-lite", "birefnet-general-fp16", "birefnet-portrait", "birefnet-dis",
    "birefnet-hrsod", "birefnet-cod", "birefnet-massive", "sam", "bria-rmbg", "ben_custom", "withoutbg", "atlascloud",
)  # fmt: skip


def check_name(name: str) -> None:
    """Raises UsageError unless it is one of `MODELS` or `CUSTOM`."""
    known = [*MODELS, *CUSTOM]
    if name in ELSEWHERE:
        raise OptionError(f"model {name!r} is no network of the U²-Net family; models: {', '.join(known)}")
    if name not in known:
        raise UnknownNameError("model", name, known)


def fed_as_rembg(session: MaskSession, source: str, profile: Profile | None = None) -> MaskSession:
    """The same model, fed as rembg feeds it.

    Args:
        source: a name of the catalog, or a file: that one is fed as `u2net_custom` is.
        profile: feed it so, whatever the source is.
    """
    profile = profile or (MODELS.get(source) if in_catalog(source) else REMBG)
    if profile is None:
        return session
    return MaskSession(session.predictor, profile, takes=session.preparation.takes)


def is_isnet(session: MaskSession, source: str) -> bool:
    """Whether the weights are of IS-Net, as far as the catalog, their profile or their input's size tells."""
    if entry := in_catalog(source):
        return entry.architecture == "isnet"
    return DIS.size == session.profile.size or session.predictor.size == (DIS.size, DIS.size)
