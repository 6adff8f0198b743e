"""What is measured and drawn during a pass, when, and for which of its runs."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from labkit.design.adapter_start import is_file
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import Base
from labkit.engine.cache import Cache, Encoded
from labkit.engine.scores import ScoredPrompts
from labkit.engine.validation import ROWS_AT_ONCE, ValidationSet, untouched_losses
from labkit.errors import LabError
from labkit.store.events import Sample, Score, Validation
from labkit.text import shown

VERDICT_IMAGES, VERDICT_STRATA = 64, 8
SETS = ("validation", "probe", "ordinary")
SCORED = ((16, 200), (8, 100))                                # prompts that are scored, in runs of so many updates
FIRST_SCORED = 128                                            # validation pictures before it serve monitoring only
Measured = tuple[str, str, ValidationSet, Sequence[int]]      # name, grade, pictures, the runs that they speak of


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """Say what a pass measures; nothing here changes a training curve or a run's id."""

    validate_at: tuple[int, ...] | None = None                # updates; None: log-spaced; 0 and the last always
    images: int = 32                                          # pictures of each set; 0 turns validation off
    sample_at: tuple[int, ...] | None = None                  # updates before a drawing; None: three or four of a run
    prompts: tuple[str, ...] = ()
    sample_seeds: tuple[int, ...] = ()                        # one for each prompt; () takes 0, 1, 2, ...
    num_inference_steps: int | None = None                    # None: the base's own
    guidance_scale: float = 3.0
    sets: tuple[str, ...] = SETS                              # which of them are measured
    verdict: bool = False                                     # 64 pictures x 8 strata first and last, for evidence
    scored: int | None = None  # drawn for a score; half as many ordinary; None: as many as a run can afford; 0: none
    scored_prompts: Callable[[], Sequence[ScoredPrompts]] = tuple     # what is drawn for it, asked for when needed

    def __post_init__(self) -> None:
        """Refuse seeds that do not match the prompts, steps without prompts, and a number of prompts that is none."""
        if self.sample_seeds and len(self.sample_seeds) != len(self.prompts):
            raise LabError(f"sample_seeds: {len(self.sample_seeds)} for {len(self.prompts)} prompts; "
                           "give one for each, or none.")
        if self.sample_at and not self.prompts:               # None draws nothing where there is nothing to draw
            raise LabError("sample_at is given without prompts: say what to draw.")
        if self.scored is not None and (type(self.scored) is not int or self.scored < 0):
            raise LabError(f"scored = {shown(self.scored)}: give a number of prompts such as 16, 0 for no score, or "
                           "None for as many as a run of its length can afford.")

    def steps(self, last: int) -> tuple[int, ...]:
        """Return after how many updates of `last` a run is validated."""
        chosen = log_spaced(last) if self.validate_at is None else self.validate_at
        return tuple(sorted({0, last, *(step for step in chosen if 0 <= step <= last)})) if self.images else ()

    def sample_steps(self, last: int) -> tuple[int, ...]:
        """Return after how many updates of `last` pictures are drawn."""
        if self.sample_at is not None:
            return self.sample_at
        early = {round(last / 10)} if last >= 100 else set()      # a tenth of a short run shows the base
        return tuple(sorted({0, *early, round(last / 3), last})) if self.prompts else ()

    def scores(self, last: int) -> list[ScoredPrompts]:
        """Return the prompts that are drawn for the score of a run of `last` updates, at its beginning and its end."""
        usual = next((count for count, least in SCORED if last >= least), 0)
        count = usual if self.scored is None else self.scored
        prompt_sets = self.scored_prompts() if count else ()
        return [each.take(count if each.name == "validation" else -(-count // 2)) for each in prompt_sets]


def log_spaced(last: int) -> tuple[int, ...]:
    """Return log-spaced steps from about 4 to last: 12 from 500 on, at most 7 in a shorter run, where each costs more.

    One more lies at three quarters: a turn seen at the last evaluation alone cannot be told from chance.
    """
    points = 12 if last >= 500 else min(7, max(3, last // 20))
    first = min(4, last)
    spaced = {round(first * (last / first) ** (i / (points - 1))) for i in range(points)}
    return tuple(sorted(spaced | {max(1, 3 * last // 4)}))


class Measurements:
    """Validate and draw for K runs whose stack is attached, or for the bare base at step 0; `rows` at once."""

    def __init__(self, base: Base, cache: Cache, configs: Sequence[RunConfig], monitor: Monitor, ids: Sequence[str],
                 rows: int = ROWS_AT_ONCE):
        """Fix the steps and the sets, so that all measurements of a pass are comparable."""
        self.base, self.monitor, self.configs, self.ids, self.rows = base, monitor, configs, ids, rows
        last = configs[0].steps
        self.steps, self.sample_steps = monitor.steps(last), monitor.sample_steps(last)
        self.prompts = tuple(monitor.prompts)
        self.seeds = tuple(monitor.sample_seeds) or tuple(range(len(self.prompts)))
        self.sets = self._sets(cache) if self.steps else []
        self.last, self.scores = last, monitor.scores(last)
        self.begins_bare = not any(is_file(config.init_lora_weights) for config in configs)

    def _sets(self, cache: Cache) -> list[Measured]:
        """Return each set as (name, grade, set, its runs' numbers); a run's probe is of its own training pictures."""
        def fixed(encoded: Encoded, images: int, strata: int) -> ValidationSet:
            return ValidationSet(encoded, images, strata, timesteps=len(self.base.noise_scheduler.alphas_cumprod))

        def strata(count: int) -> int:                        # a few pictures are looked at more than once
            return math.ceil(images / min(count, images))

        everyone, images, held_out = range(len(self.configs)), self.monitor.images, cache.validation.take(FIRST_SCORED)
        sets: list[Measured] = [
            ("validation", "monitor", fixed(held_out, images, strata(len(held_out))), everyone)]
        for n in sorted({config.pictures for config in self.configs}):
            sets.append(("probe", "monitor", fixed(cache.train.take(n), images, strata(n)),
                         [k for k in everyone if self.configs[k].pictures == n]))
        if len(cache.ordinary):
            sets.append(("ordinary", "monitor", fixed(cache.ordinary, images, 1), everyone))
        if self.monitor.verdict:
            scored = cache.validation.drop(FIRST_SCORED) if len(cache.validation) > FIRST_SCORED else cache.validation
            sets.append(("validation", "verdict", fixed(scored, VERDICT_IMAGES, VERDICT_STRATA), everyone))
        return [measured for measured in sets if measured[0] in self.monitor.sets]

    def _due(self, name: str, grade: str, step: int) -> bool:
        first_middle_last = self.steps[0], self.steps[len(self.steps) // 2], self.steps[-1]
        if grade == "verdict":
            return step in (self.steps[0], self.steps[-1])
        return step in (first_middle_last if name == "ordinary" else self.steps)

    @torch.no_grad()
    def __call__(self, step: int, stack: LoRAStack, samples_seen: Sequence[int],
                 living: Sequence[int]) -> Iterator[Validation | Sample | Score]:
        """Give the Validation, Sample and Score events that are due after `step` updates, for the living runs.

        At step 0 every adapter is still zero, unless one begins from a file: the base is measured once for all.
        """
        is_bare = step == 0 and self.begins_bare
        K = 1 if is_bare else stack.K
        at = [(self.ids[k], step, samples_seen[k]) for k in range(stack.K)]
        if step in self.steps:
            for name, grade, chosen, runs in self.sets:
                if self._due(name, grade, step):
                    losses = (untouched_losses(self.base, chosen, rows=self.rows) if is_bare
                              else chosen.losses(self.base.denoiser, K, rows=self.rows))
                    for k in runs:
                        if k in living:
                            losses_of_run = losses[k if K > 1 else 0].copy()
                            yield Validation(*at[k], name, grade, losses_of_run, np.asarray(chosen.timesteps))
        if step in self.sample_steps:
            images = self.base.generate(self.prompts, self.seeds, adapters=None if is_bare else stack,
                                        num_inference_steps=self.monitor.num_inference_steps,
                                        guidance_scale=self.monitor.guidance_scale, rows=self.rows)
            for k in living:
                drawn = images if is_bare else images[k]
                yield Sample(*at[k], drawn, self.prompts, self.seeds, self.monitor.guidance_scale)
        for scored in self.scores if step in (0, self.last) else ():
            accepted = (scored.untouched(self.base, rows=self.rows)[None] if is_bare
                        else scored.accepted(self.base, stack, rows=self.rows))
            for k in living:
                accepted_of_run = accepted[0 if is_bare else k].copy()
                yield Score(*at[k], scored.name, accepted_of_run, scored.prompts, scored.words, scored.scored_by)
