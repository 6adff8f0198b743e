"""Draw prompts that are fixed once with each run's adapter, and count whose pictures show what was asked for.

Who accepts a picture is a function that is handed in. K runs, N prompts.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labkit.engine.adapters import LoRAStack
from labkit.engine.base import Base
from labkit.engine.seeding import seed63
from labkit.engine.validation import ROWS_AT_ONCE, frozen_sums
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.files.content import sha256_of_texts
from labkit.settings import cache_dir

SEED = 0                                                      # of all runs: they differ by their adapters alone
INFERENCE_STEPS = 8                                           # enough to tell what a picture shows
GUIDANCE_SCALE = 3.0
DRAWING = 1                                                   # counts changes in how scored pictures are drawn

Asked = Mapping[str, str]                                     # attribute and answer that a picture has to show
Accept = Callable[[np.ndarray, Sequence[Asked]], np.ndarray]  # uint8 (N, H, W, 3), asked (N,) -> bool (N,)


@dataclass(frozen=True)
class ScoredPrompts:
    """Hold the prompts that are drawn for a score, what their pictures must show, and who accepts these."""

    name: str                                                 # "validation" (held-out captions) or "ordinary"
    prompts: tuple[str, ...]                                  # any first N of them are spread over what is asked
    asked: tuple[Asked, ...]                                  # as many
    accept: Accept
    scored_by: str                                            # who accepts, in words that change when it does

    def take(self, n: int) -> "ScoredPrompts":
        """Return n prompts, beginning again with the first where there are fewer; each place has a seed of its own."""
        again = range(n)
        return replace(self, prompts=tuple(self.prompts[i % len(self.prompts)] for i in again),
                       asked=tuple(self.asked[i % len(self.asked)] for i in again))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seed of each picture."""
        return tuple(seed63(SEED, f"score {self.name}", i) for i in range(len(self.prompts)))

    @property
    def words(self) -> tuple[str, ...]:
        """Return what each picture has to show, in words."""
        return tuple(", ".join(attributes.values()) for attributes in self.asked)

    def accepted(self, base: Base, adapters: LoRAStack, *, rows: int = ROWS_AT_ONCE) -> np.ndarray:
        """Draw with K adapters on the base's U-Net, `rows` at once, and return what is accepted: bool (K, N)."""
        return np.stack([self.accept(pictures, self.asked) for pictures in self._drawn(base, adapters, rows)])

    def untouched(self, base: Base, *, rows: int = ROWS_AT_ONCE) -> np.ndarray:
        """Return what is accepted of the bare base's pictures, bool (N,).

        It is kept in the cache folder, since every run begins there, and drawn again for other weights or prompts.
        """
        file = cache_dir() / "scores" / f"{self._key(base)[:32]}.json"
        accepted = _read(file, len(self.prompts))
        if accepted is None:
            accepted = self.accept(self._drawn(base, None, rows), self.asked)
            with suppress(LabError):                          # a full disk costs only the time to draw again
                write_file(file, json.dumps(accepted.tolist()).encode(), durable=False)
        return accepted

    def _drawn(self, base: Base, adapters: LoRAStack | None, rows: int) -> np.ndarray:
        return base.generate(self.prompts, self.seeds, adapters=adapters, num_inference_steps=INFERENCE_STEPS,
                             guidance_scale=GUIDANCE_SCALE, rows=rows)

    def _key(self, base: Base) -> str:
        requests = json.dumps([dict(attributes) for attributes in self.asked], sort_keys=True)
        return sha256_of_texts([DRAWING, INFERENCE_STEPS, GUIDANCE_SCALE, self.name, *self.prompts, requests,
                                self.scored_by, base.fingerprint, base.resolution, base.dtype, base.device.type,
                                frozen_sums(base).hex()])


def _read(file: Path, n: int) -> np.ndarray | None:
    """Read what was accepted of n pictures; None where it is not there or damaged."""
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    is_whole = isinstance(values, list) and len(values) == n and all(type(value) is bool for value in values)
    return np.array(values) if is_whole else None
