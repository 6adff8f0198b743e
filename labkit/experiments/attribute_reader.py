"""What does a picture show: kind of place, colours, light, and is it what was asked for?

N pictures, F features.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from labkit.errors import LabError
from labkit.settings import data_dir

PICTURES_AT_ONCE = 64
NO_PLACE = "no place"  # what noise, chaos and mixtures of pictures are taught to be


@dataclass(frozen=True)
class Reading:
    """What the reader says of N pictures."""

    kinds: list[str]  # first answer of each picture, maybe 'no place'
    scores: np.ndarray  # float32 (N, kinds): log-odds of each kind against all other answers
    attributes: list[dict[str, str]]  # first answer for each further attribute
    features: np.ndarray  # float32 (N, F)


class ReaderNet(nn.Module):
    """A small convolutional network with one head for each attribute."""

    def __init__(self, answers: dict[str, list[str]], widths=(24, 48, 96, 128, 128)):
        """Build it untrained: `answers` of each attribute, and the channels of each layer."""
        super().__init__()
        layers, before = [], 3
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        self.body = nn.Sequential(*layers)
        self.neck = nn.Sequential(nn.Linear(2 * before, before), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(before, len(values)) for name, values in answers.items()})

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Pictures (N, 3, 128, 128) in -1..1 -> logits of each attribute, features (N, F)."""
        x = self.body(x)
        features = self.neck(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return {name: head(features) for name, head in self.heads.items()}, features


class Reader:
    """A trained reader: the network, its answers and the threshold of acceptance."""

    def __init__(self, net: ReaderNet, answers: dict[str, list[str]], threshold: float, resolution: int = 128):
        """Take a network for pictures of `resolution` pixels a side; `threshold`: least log-odds of acceptance."""
        self.net, self.answers, self.threshold, self.resolution = net.eval(), answers, threshold, resolution

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of places that it knows."""
        return [k for k in self.answers["kind"] if k != NO_PLACE]

    @torch.no_grad()
    def read(self, pictures: np.ndarray) -> Reading:
        """Read uint8 pictures (N, H, W, 3); other sizes than the reader's own are resampled."""
        device = next(self.net.parameters()).device
        logits, features = [], []
        for batch in torch.from_numpy(np.ascontiguousarray(pictures)).split(PICTURES_AT_ONCE):
            x = batch.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            if x.shape[-2:] != (self.resolution, self.resolution):
                x = nn.functional.interpolate(x, (self.resolution, self.resolution), mode="bilinear", antialias=True)
            answer, feature = self.net(x)
            logits.append({name: value.cpu() for name, value in answer.items()})
            features.append(feature.cpu())
        logits = {name: torch.cat([batch[name] for batch in logits]) for name in self.answers}
        first = {name: [self.answers[name][i] for i in value.argmax(1).tolist()] for name, value in logits.items()}
        kinds = first.pop("kind")
        attributes = [dict(zip(first, values, strict=True)) for values in zip(*first.values(), strict=True)]
        return Reading(kinds, self._log_odds(logits["kind"]).numpy(), attributes, torch.cat(features).numpy())

    def _log_odds(self, logits: Tensor) -> Tensor:
        """Log-odds of each answer against all others, of the kinds alone: (N, answers) -> (N, kinds)."""
        places = range(logits.shape[1])
        others = [torch.logsumexp(logits[:, [j for j in places if j != i]], 1) for i in places]
        keep = [i for i, kind in enumerate(self.answers["kind"]) if kind != NO_PLACE]
        return (logits - torch.stack(others, 1))[:, keep]

    def accepted(self, pictures: np.ndarray, asked: str | list[str]) -> np.ndarray:
        """Say of each picture whether the asked kind is its first answer and passes the threshold: bool (N,)."""
        asked = [asked] * len(pictures) if isinstance(asked, str) else list(asked)
        if len(asked) != len(pictures):
            raise LabError(f"asked: {len(asked)} kinds for {len(pictures)} pictures; "
                           "give one kind, or one for each picture.")
        for kind in asked:
            if kind not in self.kinds:
                raise LabError(f"asked: the reader knows no '{kind}'; it reads {', '.join(self.kinds)}.")
        reading = self.read(pictures)
        scores = reading.scores[np.arange(len(asked)), [self.kinds.index(k) for k in asked]]
        return (np.array(reading.kinds) == np.array(asked)) & (scores >= self.threshold)


def load_reader(folder: str | Path | None = None) -> Reader:
    """Load a reader (config.json, model.safetensors) from a folder, by default the one that ships."""
    folder = Path(folder or data_dir() / "reader")
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise LabError(f"{folder / name} is missing; get data/reader back from the repository or train it with "
                           "data/recipes/model/attribute_reader.py.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        net = ReaderNet(config["answers"], tuple(config["widths"]))
        net.load_state_dict(load_file(folder / "model.safetensors"))
        return Reader(net, config["answers"], config["threshold"], config["resolution"])
    except Exception as error:
        raise LabError(f"{folder}: the reader could not be loaded ({str(error).splitlines()[0]}); "
                       "get data/reader back from the repository.") from error
