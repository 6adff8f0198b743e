"""A network that reads what pictures show (place, colours, light, style) and tells whether that was asked for.

N pictures, F features.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from labkit.datasets.folders import PictureFolder
from labkit.errors import LabError
from labkit.settings import data_dir

PICTURES_AT_ONCE = 64
NO_PLACE = "no place"  # what noise, chaos and mixtures of pictures are taught to be
STYLE, BRANCH_AFTER = "style", 2  # the attribute that has a branch of its own, and after how many layers it begins


@dataclass(frozen=True)
class Reading:
    """What the reader says of N pictures."""

    kinds: list[str]  # first answer of each picture, maybe 'no place'
    scores: np.ndarray  # float32 (N, kinds): log-odds of each kind against all other answers
    attributes: list[dict[str, str]]  # first answer for each further attribute
    features: np.ndarray  # float32 (N, F)
    log_odds: dict[str, np.ndarray]  # of each attribute, float32 (N, answers): each answer against all others


class ReaderNet(nn.Module):
    """A small convolutional network with one head for each attribute.

    A style is how things are drawn, which the features at its end have learnt to overlook. So its head is a branch,
    which begins at an early layer and was trained by itself when all else was fixed.
    """

    def __init__(self, answers: dict[str, list[str]], widths: Sequence[int] = (24, 48, 96, 128, 128),
                 style_widths: Sequence[int] = (48, 64)):
        """Build it untrained: `answers` of each attribute, and the channels of each layer, of body and branch."""
        super().__init__()
        self.body = _layers(3, widths)
        self.neck = nn.Sequential(nn.Linear(2 * widths[-1], widths[-1]), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(widths[-1], len(values))
                                    for name, values in answers.items() if name != STYLE})
        if STYLE in answers:
            self.style = _layers(widths[BRANCH_AFTER - 1], style_widths)
            self.style_head = nn.Linear(2 * style_widths[-1], len(answers[STYLE]))

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Pictures (N, 3, 128, 128) in -1..1 -> logits of each attribute, features (N, F)."""
        early = self.early(x)
        features = self.neck(_pooled(self.body[3 * BRANCH_AFTER:](early)))
        logits = {name: head(features) for name, head in self.heads.items()}
        return logits | ({STYLE: self.style_logits(early)} if hasattr(self, STYLE) else {}), features

    def early(self, x: Tensor) -> Tensor:
        """Pictures -> output of the first layers, with which the style's branch begins."""
        return self.body[:3 * BRANCH_AFTER](x)

    def style_logits(self, early: Tensor) -> Tensor:
        """Output of `early` -> logits of the style's answers."""
        return self.style_head(_pooled(self.style(early)))


def _layers(before: int, widths: Sequence[int]) -> nn.Sequential:
    """Three modules for each width: a convolution that halves the picture, a norm and an activation."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
        before = width
    return nn.Sequential(*layers)


def _pooled(x: Tensor) -> Tensor:
    """Mean and maximum of each channel: (N, C, H, W) -> (N, 2 C)."""
    return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class Reader:
    """A trained reader: the network, its answers and the threshold of acceptance."""

    def __init__(self, net: ReaderNet, answers: dict[str, list[str]], thresholds: dict[str, float],
                 resolution: int = 128):
        """Take a network for pictures of `resolution` pixels a side, and the least log-odds of acceptance.

        thresholds    of each attribute that can be asked for
        """
        self.net, self.answers, self.thresholds, self.resolution = net.eval(), answers, thresholds, resolution

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of places that it knows."""
        return [k for k in self.answers["kind"] if k != NO_PLACE]

    @torch.no_grad()
    def read(self, pictures: np.ndarray) -> Reading:
        """Read uint8 pictures (N, H, W, 3); other sizes than the reader's own are resampled."""
        device = next(self.net.parameters()).device
        answered: list[dict[str, Tensor]] = []
        features: list[Tensor] = []
        for batch in torch.from_numpy(np.ascontiguousarray(pictures)).split(PICTURES_AT_ONCE):
            x = batch.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            if x.shape[-2:] != (self.resolution, self.resolution):
                x = nn.functional.interpolate(x, (self.resolution, self.resolution), mode="bilinear", antialias=True)
            answer, feature = self.net(x)
            answered.append({name: value.cpu() for name, value in answer.items()})
            features.append(feature.cpu())
        logits = {name: torch.cat([batch[name] for batch in answered]) for name in self.answers}
        first = {name: [self.answers[name][i] for i in value.argmax(1).tolist()] for name, value in logits.items()}
        kinds = first.pop("kind")
        attributes = [dict(zip(first, values, strict=True)) for values in zip(*first.values(), strict=True)]
        log_odds = {name: _log_odds(value).numpy() for name, value in logits.items()}
        places = [i for i, kind in enumerate(self.answers["kind"]) if kind != NO_PLACE]
        return Reading(kinds, log_odds["kind"][:, places], attributes, torch.cat(features).numpy(), log_odds)

    def accepted(self, pictures: np.ndarray, asked: str | Sequence[str | Mapping[str, str]]) -> np.ndarray:
        """Tell which pictures show what was asked for: bool (N,).

        A picture does if each attribute that was asked for is the reader's first answer and passes its threshold.

        asked    a kind for all pictures, or for each a kind or its attributes, as in `{"style": "storybook"}`

        LabError: not one for each picture, or an attribute or answer that the reader cannot be asked for.
        """
        each = [asked] * len(pictures) if isinstance(asked, str) else list(asked)
        wanted = [{"kind": one} if isinstance(one, str) else dict(one) for one in each]
        if len(wanted) != len(pictures):
            raise LabError(f"asked: {len(wanted)} kinds for {len(pictures)} pictures; "
                           "give one kind, or one for each picture.")
        for name, answer in {pair for one in wanted for pair in one.items()}:
            self._check_asked(name, answer)
        log_odds = self.read(pictures).log_odds
        return np.array([all(self._passes(name, answer, log_odds[name][i]) for name, answer in one.items())
                         for i, one in enumerate(wanted)], bool)

    def _check_asked(self, name: str, answer: str) -> None:
        """Raise LabError for an answer that the reader was never taught, and for an attribute without a threshold."""
        if name not in self.thresholds:
            raise LabError(f"asked: the reader has no threshold for '{name}'; "
                           f"it can be asked for {', '.join(self.thresholds)}.")
        if answer not in self.answers[name] or answer == NO_PLACE:
            raise LabError(f"asked: the reader knows no '{answer}'; "
                           f"it reads {', '.join(a for a in self.answers[name] if a != NO_PLACE)}.")

    def _passes(self, name: str, answer: str, log_odds: np.ndarray) -> bool:
        """Say whether an answer is the first of a picture and passes; log_odds: (answers,) of that picture."""
        place = self.answers[name].index(answer)
        return bool(log_odds.argmax() == place and log_odds[place] >= self.thresholds[name])


def asked_of(folder: PictureFolder) -> list[dict[str, str]] | None:
    """Return what `Reader.accepted` can ask of each picture of a folder; None where it can ask nothing.

    It knows the places and the styles of the pictures that ship: a picture drawn in a style is asked for its style,
    another one for its kind of place. It never saw pictures of a person's own folder, whatever their metadata say.
    """
    if data_dir() / "territories" not in folder.folder.parents:
        return None
    return [{STYLE: attributes[STYLE]} if STYLE in attributes else {"kind": attributes["kind"]}
            for attributes in folder.attributes]


def _log_odds(logits: Tensor) -> Tensor:
    """Log-odds of each answer against all others: (N, answers) -> (N, answers)."""
    answers = range(logits.shape[1])
    others = [torch.logsumexp(logits[:, [j for j in answers if j != i]], 1) for i in answers]
    return logits - torch.stack(others, 1)


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
        return Reader(net, config["answers"], config["thresholds"], config["resolution"])
    except Exception as error:
        raise LabError(f"{folder}: the reader could not be loaded ({str(error).splitlines()[0]}); "
                       "get data/reader back from the repository.") from error
