"""Parameters to begin with, each with its reason and where that comes from: where the short test starts, not a result.

What is known here before training is little: how many pictures, of how many kinds, how far from the base, and the time
there is.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from labkit.design import volume
from labkit.design.config import RunConfig, named_fields
from labkit.errors import LabError
from labkit.text import counted, duration, rounded

EMBEDDED, STABLE_DIFFUSION = "embedded", "stable diffusion"
START_RATE = {EMBEDDED: 3e-3, STABLE_DIFFUSION: 1e-4}         # where the short test begins on each
VIEWS = {EMBEDDED: 25, STABLE_DIFFUSION: 50}                  # of a picture
SOURCES = {                                                   # of rate and views, on each base
    EMBEDDED: ("this kit's own trials with adapters on all layers (LOG.md, Lesson 04)",) * 2,
    STABLE_DIFFUSION: ("the default of diffusers' train_text_to_image_lora.py (Stable Diffusion)",
                       "diffusers' DreamBooth LoRA example for Stable Diffusion 1.5: 500 updates of 1 on 5 pictures, "
                       f"100 views; {VIEWS[STABLE_DIFFUSION]} is half of it"),
}
FEWEST_UPDATES, MOST_UPDATES = 100, 5000
FEW_A_KIND = 12
MOST_ABOVE_FOUND = 4 / 3                                      # of a schedule's peak over the rate that was found


class Proposal(NamedTuple):
    """Hold one proposed field of a run, why, and where the reason comes from."""

    field: str
    value: Any
    reason: str
    source: str


def propose(pictures: int, *, kinds: int = 1, near: bool = False, base: str = "embedded",
            seconds: float | None = None, seconds_per_update: float | None = None) -> list[Proposal]:
    """Propose the parameters of a first run.

    pictures            training pictures
    kinds               different things among them that the adapter should tell apart
    near                `Distance.is_near`: the base already draws such pictures about as well as what it knows
    base                'embedded', or any other name: then Stable Diffusion's published settings are the start
    seconds             time for the run at most, None for no limit; needs seconds_per_update, measured on this machine
                        at the batch that `proposed_batch` gives
    """
    whole = isinstance(pictures, int) and isinstance(kinds, int)
    if not whole or pictures < 1 or not 1 <= kinds <= pictures:
        raise LabError(f"pictures = {pictures!r}, kinds = {kinds!r}: give whole numbers, at least one picture, "
                       "and no more kinds than pictures.")
    if seconds is not None and not (seconds_per_update and seconds_per_update > 0 and seconds > 0):
        raise LabError("seconds needs seconds_per_update, both above 0: train a few updates and see what one takes.")
    family = EMBEDDED if base == EMBEDDED else STABLE_DIFFUSION
    name = "the embedded base" if family == EMBEDDED else f"{base}, taken to be a Stable Diffusion"
    return [*_amount(pictures, kinds, family, seconds, seconds_per_update), *_adapter(kinds, near, name),
            *_rate(family, name)]


def proposed_batch(pictures: int) -> int:
    """Return the batch that is proposed: 4, or all of fewer pictures."""
    return min(4, pictures)


def _amount(pictures: int, kinds: int, family: str, seconds: float | None,
            seconds_per_update: float | None) -> Iterator[Proposal]:
    """Propose how many pictures, in which batches, for how many updates."""
    batch = proposed_batch(pictures)
    most_epochs = max(1, MOST_UPDATES * batch // pictures)
    wanted = min(max(VIEWS[family], volume.epochs_for(FEWEST_UPDATES, batch, pictures)), most_epochs)
    epochs, steps, lack = wanted, 0, ""
    if seconds and seconds_per_update:
        steps = max(1, int(seconds / seconds_per_update))
        epochs = min(wanted, steps * batch // pictures)
        lack = f"{duration(seconds)} are there and an update takes {seconds_per_update:.2g} s here"
    if epochs:
        steps = volume.updates(pictures, batch, epochs)
    seen = rounded(volume.views(steps, batch, pictures))
    amount = f"{counted(steps, 'update')} of {batch} for {counted(pictures, 'picture')}: each is seen {seen} times"
    if epochs < wanted:
        reason = f"{amount}; {wanted} times would be the aim, but {lack}"
    else:
        reason = f"{amount}; where the held-out loss turns before their end, an earlier checkpoint is the one to keep"
    if pictures / kinds < FEW_A_KIND:
        reason += f"; with {pictures / kinds:.0f} pictures a kind expect copying early"
    yield Proposal("n_train", pictures, "all there are: nothing else adds as much as pictures that differ",
                   "the chapter's section 11.3")
    yield Proposal("train_batch_size", batch,
                   "small: at equal pictures shown it gives more updates, and noise does no harm where Adam's rate is "
                   "chosen for it",
                   "Marek et al. 2025, arXiv:2507.07101 (language models); the batch race of the third lesson "
                   "(embedded base)")
    yield Proposal("max_train_steps", steps, reason, SOURCES[family][1])


def _adapter(kinds: int, near: bool, name: str) -> Iterator[Proposal]:
    """Propose the adapter of a base: its rank and what follows from it."""
    rank = 4 if near else 8
    rank *= 2 if kinds > 3 else 1
    many = f", doubled for {kinds} kinds" if kinds > 3 else ""
    where = "near: a small change suffices" if near else "far: room for more than a change of style"
    yield Proposal("rank", rank,
                   f"the territory is {where}{many}; raise it only where the loss on training pictures stays above "
                   "that of a high rank",
                   f"Hu et al. 2021, section 7.2 (GPT-3: ranks 1 to 8 suffice); a place to begin on {name}")
    yield Proposal("alpha", float(rank),
                   "equal to the rank, so that scaling is 1 and the strength is chosen after training, where it costs "
                   "nothing",
                   "diffusers' train_text_to_image_lora.py sets lora_alpha = rank (Stable Diffusion)")
    yield Proposal("use_rslora", False, "one rank is trained, so there is nothing to hold equal over ranks",
                   "Kalajdzievski 2023, arXiv:2312.03732")


def _rate(family: str, name: str) -> Iterator[Proposal]:
    """Propose the rate and its schedule."""
    yield Proposal("learning_rate", START_RATE[family],
                   f"where the short test begins on {name}, not where it ends: it climbs or descends from there",
                   SOURCES[family][0])
    yield Proposal("lr_scheduler", "linear",
                   "falls to zero, so that the last updates settle what the first ones found; the short test itself "
                   "runs at a constant rate",
                   "Defazio et al. 2023, arXiv:2310.07831 (several tasks, none of them LoRA)")
    yield Proposal("lr_warmup_steps", 0,
                   "B starts at zero, so the first updates change little by themselves; add some where the rate sits "
                   "just below an unstable one",
                   "Hu et al. 2021, section 4.1")


def given_first(proposals: Iterable[Proposal],
                design: RunConfig | dict[str, Any] | Path | str | None) -> list[Proposal]:
    """Replace what is proposed by the fields that a design gives itself, base, data and seed left aside.

    design: as `load_design` takes it; None leaves all proposals.
    """
    fields = named_fields(design)
    values = RunConfig.from_dict(fields).to_dict()
    chosen = {name: value for name, value in values.items()
              if fields.get(name) is not None and name not in ("base", "data", "seed")}
    replaced = set(chosen)
    replaced |= {"alpha"} if "rank" in chosen else set()
    replaced |= {"max_train_steps"} if "num_train_epochs" in chosen else set()
    return [*(proposal for proposal in proposals if proposal.field not in replaced),
            *(Proposal(name, value, "given", "the design that was handed in") for name, value in chosen.items())]


def whole_epochs(updates: int, batch: int, pictures: int) -> int:
    """Return the number of whole epochs that lies nearest to so many updates, at least one: a design can expect it."""
    return max(1, round(volume.views(updates, batch, pictures)))


def peak_rate(config: RunConfig, found: float) -> float:
    """Return the peak of a schedule that spends as much as the constant rate a short test found, to one digit.

    Adam moves a weight by about the rate at each update. The peak is at most a third above the rate that was found:
    what the territory gains beyond that is paid for with what the base knew.

    config: resolved; of its schedule only the form counts
    """
    share = volume.lr_sum(config) / (config.learning_rate * config.steps)
    return float(f"{found * min(1 / share, MOST_ABOVE_FOUND):.1g}")


def proposed(proposals: Iterable[Proposal], **changes: Any) -> RunConfig:
    """Return the configuration of some proposals, with fields changed or added."""
    return RunConfig.from_dict({proposal.field: proposal.value for proposal in proposals} | changes)


def reasons(proposals: Iterable[Proposal], **changes: str) -> dict[str, str]:
    """Return the text for a design's `reasons`; `changes` replaces or adds a reason."""
    return {proposal.field: f"{proposal.reason}. From: {proposal.source}" for proposal in proposals} | changes
