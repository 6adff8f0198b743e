"""Pictures and captions encoded once: latents as mean and standard deviation, captions as the U-Net's conditions.

Kept in the user's cache folder under a key of everything they depend on; latents of what ships with the kit are in
data/encoded/. n pictures of a set with m captions, C H W latent, L tokens, D width. With crop = "buckets" H and W may
be others from picture to picture.
"""

import contextlib
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from labkit.datasets.buckets import sizes_of
from labkit.datasets.folders import PictureFolder, Territory
from labkit.datasets.pixels import upright_size
from labkit.engine.base import Base
from labkit.engine.prior import prior_captions, prior_latents
from labkit.engine.ragged import Ragged, by_shape, together
from labkit.engine.text_encoders import SIZES, sent, size_numbers
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.files.content import sha256_of_texts
from labkit.settings import cache_dir, data_dir

ENCODING = 2                                                  # counts changes in how pictures are read and encoded
CONDITION, FURTHER, NUMBERS = "cond.", "more.", "numbers"
AT_ONCE = 32                                                  # pictures held in memory at full size
Progress = Callable[[int, int], None]                         # called with how many pictures are done, and of how many


@dataclass(frozen=True, eq=False)
class Encoded:
    """Hold one set of pictures as the base sees them, on the CPU."""

    mean: Tensor | Ragged                                     # (n, C, H, W) float32
    std: Tensor | Ragged                                      # (n, C, H, W) float32
    cond: Mapping[str, Tensor]                                # encoder_hidden_states (n, L, D) float32; SDXL's too
    captions: tuple[str, ...]
    paths: tuple[Path, ...]
    more: Mapping[str, Tensor] = field(default_factory=dict)  # as cond, (m - n, L, D), of further captions
    counts: tuple[int, ...] = ()                              # further captions of each picture; () where none has any
    repeats: tuple[int, ...] = ()                             # how often each is shown in a round; () where all once
    _sent: dict = field(default_factory=dict, repr=False)     # (device, dtype) -> cond there

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.captions)

    def cond_on(self, device: torch.device, dtype: torch.dtype) -> Mapping[str, Tensor]:
        """Give the conditions on a device, then those of further captions, sent there once for all passes."""
        if (device, dtype) not in self._sent:
            whole = {name: torch.cat([value, self.more[name]]) if self.more else value
                     for name, value in self.cond.items()}
            self._sent[device, dtype] = sent(whole, device, dtype)
        return self._sent[device, dtype]

    def rounds_of(self, n: int) -> list[Sequence[int]]:
        """Return the first n pictures grouped by shape, each repeated as often as one round shows it."""
        times = self.repeats[:n] or (1,) * n
        return [[i for i in numbers for _ in range(times[i])] for numbers in by_shape(self.mean[:n])]

    @property
    def whole(self) -> Tensor:
        """Give mean as one tensor; LabError where pictures have several shapes."""
        if isinstance(self.mean, Ragged):
            raise LabError("crop: these pictures have several shapes, and what is asked for takes pictures of one: "
                           "open them with crop = 'center'.")
        return self.mean

    @property
    def largest_shape(self) -> tuple[int, ...]:
        """Return (C, H, W) of the pictures that need the most memory."""
        return max((tuple(self.mean[numbers[0]].shape) for numbers in by_shape(self.mean)), key=math.prod)

    def captions_of(self, pictures: Tensor, source: torch.Generator) -> Tensor:
        """Draw for pictures (E,) which rows of `cond_on` their captions are; of several captions each is as likely."""
        if not self.counts:
            return pictures
        counts = torch.tensor(self.counts)
        first = len(self) + counts.cumsum(0) - counts         # of the further captions of each picture
        drawn = torch.rand(len(pictures), generator=source) * (counts[pictures] + 1)
        chosen = drawn.long().clamp(max=counts[pictures])
        return torch.where(chosen == 0, pictures, first[pictures] + chosen - 1)

    def take(self, n: int) -> "Encoded":
        """Give the first n pictures, each once with its first caption."""
        return self._cut(slice(0, n))

    def drop(self, n: int) -> "Encoded":
        """Give all but the first n pictures, each once with its first caption."""
        return self._cut(slice(n, None))

    def _cut(self, rows: slice) -> "Encoded":
        return Encoded(self.mean[rows], self.std[rows], {name: value[rows] for name, value in self.cond.items()},
                       self.captions[rows], self.paths[rows])


@dataclass(frozen=True, eq=False)
class Cache:
    """Hold the three sets of a territory, encoded by one base."""

    train: Encoded
    validation: Encoded
    ordinary: Encoded
    null_cond: Mapping[str, Tensor]                           # of the empty caption, (1, L, D)
    prompts: tuple[str, ...]
    fingerprint: str                                          # of what is trained on
    base_fingerprint: str
    prior: Callable[[], Encoded]                              # what the base should keep, made when needed
    measured_fingerprint: str = ""                            # of what is measured on: held-out, ordinary pictures


def encode(base: Base, territory: Territory, *,
           progress: Callable[[int, int], None] = lambda done, total: None) -> Cache:
    """Encode a territory, reading what was encoded before; `progress(done, total)` counts pictures of a set.

    Latents pass through float16 (their spread through float8) on the way, so that what ships and what is encoded here
    are the same numbers.
    """
    sets = {name: _encoded(base, getattr(territory, name), progress) for name in ("train", "validation", "ordinary")}
    null_cond = {name: value.cpu() for name, value in base.encode_captions([""]).items()}
    class_pictures = territory.prior
    prior = functools.cache(lambda: _encoded(base, class_pictures, progress) if class_pictures else
                            _prior(base, territory.ordinary, progress))
    measured = sha256_of_texts(part.fingerprint for part in (territory.validation, territory.ordinary))
    return Cache(**sets, prior=prior, null_cond=null_cond,
                 prompts=territory.prompts, fingerprint=territory.fingerprint, base_fingerprint=base.fingerprint,
                 measured_fingerprint=measured)


def key(base: Base, pictures: PictureFolder) -> str:
    """Name everything that encoded pictures depend on: base, size, pictures, captions, their order, this code."""
    return sha256_of_texts([ENCODING, base.fingerprint, base.resolution, pictures.fingerprint])


def ship(base: Base, pictures: PictureFolder) -> Path:
    """Write the latents of a set that ships with the kit to data/encoded/, where `encode` finds them; give it."""
    latents = read(_kept(base, pictures), key(base, pictures)) or _latents(base, pictures, lambda done, total: None)
    file = shipped_file(pictures)
    if file is None:
        raise LabError(f"{pictures.folder} does not ship with the kit: give a set of a folder in data/territories/.")
    latents = {name: value for name, value in latents.items() if not name.startswith(CONDITION)}
    _write(file, latents, key(base, pictures))
    return file


def ship_prior(base: Base, ordinary: PictureFolder) -> Path:
    """Write what the base draws from these captions to data/encoded/, where `encode` finds it; give the file."""
    mean = _prior(base, ordinary, lambda done, total: None).whole.half()
    _write(_shipped_prior(), {"mean": mean}, _prior_key(base, prior_captions(ordinary)))
    return _shipped_prior()


def _encoded(base: Base, pictures: PictureFolder, progress: Progress) -> Encoded:
    own_key, kept = key(base, pictures), _kept(base, pictures)
    tensors = read(kept, own_key)
    if tensors is None:
        shipped = shipped_file(pictures)
        tensors = (read(shipped, own_key) if shipped else None) or _latents(base, pictures, progress)
        tensors |= _captions(base, pictures)
        try:
            _write(kept, tensors, own_key)
        except LabError:                                      # without room to keep it, it is made again next time
            pass
    # Layout in memory is made the same too: a convolution leaves channels-last pictures, a file gives plain ones, and
    # the two do not give the same last bits.
    tensors = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    cond, more = ({name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
                  for start in (CONDITION, FURTHER))
    return Encoded(_in_order(tensors, "mean"), _in_order(tensors, "std"), cond, pictures.captions, pictures.paths,
                   more, tuple(map(len, pictures.more)), pictures.repeats)


def _shipped_prior() -> Path:
    return data_dir() / "encoded" / "prior.safetensors"


def _prior_key(base: Base, captions: Sequence[str]) -> str:
    return sha256_of_texts([ENCODING, base.fingerprint, base.resolution, "prior by DPM-Solver++", *captions])


def _prior(base: Base, ordinary: PictureFolder, progress: Progress) -> Encoded:
    """Give what the base draws itself, (n, C, H, W), without a spread: each is one picture, no distribution."""
    captions = prior_captions(ordinary)
    own_key = _prior_key(base, captions)
    kept = cache_dir() / "encoded" / f"{own_key}.safetensors"
    tensors = read(kept, own_key) or read(_shipped_prior(), own_key)
    if tensors is None:
        tensors = {"mean": prior_latents(base, captions, progress)}
        with contextlib.suppress(LabError):                   # without room to keep it, it is made again next time
            _write(kept, tensors, own_key)
    mean = tensors["mean"].float()
    return Encoded(mean, torch.zeros_like(mean), _conditions(base, captions), captions, ())


def _latents(base: Base, pictures: PictureFolder, progress: Progress) -> dict[str, Tensor]:
    """Encode pictures a few at a time: mean, (n, C, H, W) float16, and std, as float8: it is far smaller than the
    latents, so that its rounding is of the size of theirs. Of several sizes, each has tensors of its own."""
    numbers: dict[tuple[int, int], list[int]] = {}
    for i, size in enumerate(sizes_of(pictures, base.resolution, base.side_multiple)):
        numbers.setdefault(size, []).append(i)
    tensors, done = {}, 0
    for (width, height), of_size in numbers.items():
        parts = []
        for start in range(0, len(of_size), AT_ONCE):
            few = pictures.at(of_size[start : start + AT_ONCE])
            mean, std = base.encode_pictures(few.pixels((height, width)))
            parts.append((mean.cpu().half(), std.cpu().to(torch.float8_e5m2)))
            done += len(few)
            progress(done, len(pictures))
        name = f".{width}x{height}" if len(numbers) > 1 else ""
        tensors["mean" + name], tensors["std" + name] = (torch.cat(column) for column in zip(*parts, strict=True))
        if name:
            tensors[NUMBERS + name] = torch.tensor(of_size)
    return tensors


def _in_order(tensors: Mapping[str, Tensor], name: str) -> Tensor | Ragged:
    """Return mean or std of all pictures, float32, whether they have one size or several."""
    if name in tensors:
        return tensors[name].float()
    rows: dict[int, Tensor] = {}
    for part, numbers in tensors.items():
        if part.startswith(NUMBERS):
            rows |= zip(numbers.tolist(), tensors[name + part.removeprefix(NUMBERS)].float(), strict=True)
    return together([rows[i] for i in range(len(rows))])


def _captions(base: Base, pictures: PictureFolder) -> dict[str, Tensor]:
    """Encode all captions of pictures, first and further ones, beside the sizes that SDXL is told."""
    owners = [i for i, captions in enumerate(pictures.more) for _ in captions]
    cond, more = _conditions(base, pictures.captions), {}
    if owners:
        more = _conditions(base, pictures.every_caption[len(pictures):])
    if SIZES in cond:
        sizes = sizes_of(pictures, base.resolution, base.side_multiple)
        cond[SIZES] = torch.tensor([size_numbers(upright_size(path), (height, width), pictures.crop)
                                    for path, (width, height) in zip(pictures.paths, sizes, strict=True)])
        more |= {SIZES: cond[SIZES][owners]} if owners else {}
    return ({CONDITION + name: value for name, value in cond.items()}
            | {FURTHER + name: value for name, value in more.items()})


def _conditions(base: Base, captions: Sequence[str]) -> dict[str, Tensor]:
    parts = [base.encode_captions(captions[start : start + AT_ONCE]) for start in range(0, len(captions), AT_ONCE)]
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


# -- files: tensors with their key and a checksum

def _kept(base: Base, pictures: PictureFolder) -> Path:
    return cache_dir() / "encoded" / f"{key(base, pictures)}.safetensors"


def shipped_file(pictures: PictureFolder) -> Path | None:
    """Name the file for a folder of data/territories/, such as liminal-train; None for other folders."""
    territories = (data_dir() / "territories").resolve()
    folder = pictures.folder.resolve()
    if territories not in folder.parents:
        return None
    return data_dir() / "encoded" / f"{'-'.join(folder.relative_to(territories).parts)}.safetensors"


def read(file: Path, expected_key: str) -> dict[str, Tensor] | None:
    """Read what `_write` wrote under this key; None where the file is absent, damaged or of another key."""
    try:
        with safe_open(str(file), "pt") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("key") != expected_key:
                return None
            tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}
    except (OSError, SafetensorError):
        return None
    return tensors if metadata.get("checksum") == _checksum(tensors) else None


def _write(file: Path, tensors: Mapping[str, Tensor], own_key: str) -> None:
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    write_file(file, save(tensors, metadata={"key": own_key, "checksum": _checksum(tensors)}))


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
