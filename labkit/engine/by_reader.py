"""The prompts that a run is scored on, and what the reader that ships must find in the pictures drawn from them."""

import functools
from itertools import zip_longest

from labkit.datasets.folders import PictureFolder, Territory
from labkit.engine.attribute_reader import Reader, asked_of, load_reader
from labkit.engine.monitor import FIRST_SCORED
from labkit.engine.scores import ScoredPrompts
from labkit.errors import LabError
from labkit.files.content import sha256, sha256_of_texts
from labkit.settings import data_dir

NO_READER = "no reader for these pictures"


def scored_prompts(territory: Territory) -> tuple[ScoredPrompts, ...]:
    """Return the held-out and the ordinary prompts of a territory, each only where the reader can judge its pictures.

    Of the held-out captions those are taken that serve monitoring; final scores use others.
    """
    folders = {"validation": territory.validation.take(FIRST_SCORED), "ordinary": territory.ordinary}
    prompts = [_asked(name, folder) for name, folder in folders.items()]
    return tuple(scored for scored in prompts if scored is not None)


def _asked(name: str, folder: PictureFolder) -> ScoredPrompts | None:
    """Return the scored prompts of one folder; None where the reader does not know what its pictures show."""
    if not len(folder) or asked_of(folder) is None:
        return None
    try:
        reader, fingerprint = _reader()
    except LabError:                                          # it is not here: a run is trained all the same
        return None
    spread = _spread(folder)
    requests = tuple(asked_of(spread) or ())
    pairs = {pair for one in requests for pair in one.items()}
    if not all(name in reader.thresholds and answer in reader.answers[name] for name, answer in pairs):
        return None
    return ScoredPrompts(name, spread.captions, requests, reader.accepted, f"attribute reader {fingerprint}")


def _spread(folder: PictureFolder) -> PictureFolder:
    """Order pictures so that the first few of them are of as many kinds as can be.

    It begins at the end, since sample pictures and those of a chosen strength are of the first captions.
    """
    by_kind: dict[str, list[int]] = {}
    for i in reversed(range(len(folder))):
        by_kind.setdefault(str(folder.attributes[i].get("kind")), []).append(i)
    rounds = zip_longest(*by_kind.values())
    return folder.at(i for one_of_each in rounds for i in one_of_each if i is not None)


@functools.lru_cache(maxsize=1)
def _reader() -> tuple[Reader, str]:
    """Return the reader that ships and 12 hex digits of its files."""
    files = [data_dir() / "reader" / name for name in ("config.json", "model.safetensors")]
    reader = load_reader()
    return reader, sha256_of_texts(map(sha256, files))[:12]
