"""Parameters to begin with, each with its reason and where that comes from: a starting point for the short test, not a result.

What is known here before training is little: how many pictures, of how many kinds, how far from the base, and the time there is.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from labkit.design import volume
from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.text import counted, rounded

VIEWS = 50                                                    # of each picture: half of what diffusers' DreamBooth LoRA example shows
FEWEST_UPDATES, MOST_UPDATES = 100, 5000
FEW_A_KIND = 12
START_RATE = {"embedded": 1e-3, "stable diffusion": 1e-4}     # where the short test begins on each


class Proposal(NamedTuple):
    """Hold one proposed field of a run, why, and where the reason comes from."""

    field: str
    value: object
    reason: str
    source: str


def propose(pictures: int, *, kinds: int = 1, near: bool = False, base: str = "embedded", seconds: float | None = None,
            seconds_per_update: float | None = None) -> list[Proposal]:
    """Propose the parameters of a first run.

    pictures            training pictures
    kinds               different things among them that the adapter should tell apart
    near                `Distance.is_near`: the base already draws such pictures about as well as what it knows
    base                'embedded', or any other name: then Stable Diffusion's published settings are the start
    seconds             time for the run at most, None for no limit; needs seconds_per_update, measured on this machine at the
                        batch that `proposed_batch` gives
    """
    if not isinstance(pictures, int) or not isinstance(kinds, int) or pictures < 1 or not 1 <= kinds <= pictures:
        raise LabError(f"pictures = {pictures!r}, kinds = {kinds!r}: give whole numbers, at least one picture, and no more kinds than pictures.")
    if seconds is not None and not (seconds_per_update and seconds_per_update > 0 and seconds > 0):
        raise LabError("seconds needs seconds_per_update, both above 0: train a few updates and see what one takes.")
    own = base == "embedded"
    name = "the embedded base" if own else f"{base}, taken to be a Stable Diffusion,"
    return [*_amount(pictures, kinds, seconds, seconds_per_update), *_adapter(pictures, kinds, near, name), *_rate(own, name)]


def proposed_batch(pictures: int) -> int:
    """Return the batch that is proposed: 4, or all of fewer pictures."""
    return min(4, pictures)


def _amount(pictures, kinds, seconds, seconds_per_update):
    batch = proposed_batch(pictures)
    wanted = min(max(VIEWS, volume.epochs_for(FEWEST_UPDATES, batch, pictures)), max(1, MOST_UPDATES * batch // pictures))
    affordable = max(1, int(seconds / seconds_per_update)) if seconds else math.inf
    epochs = min(wanted, affordable * batch // pictures)
    steps = volume.updates(pictures, batch, int(epochs)) if epochs else affordable
    shown = f"{counted(steps, 'update')} of {batch} for {counted(pictures, 'picture')}: each is seen {rounded(volume.views(steps, batch, pictures))} times"
    if epochs < wanted:
        reason = f"{shown}; {wanted} times would be the aim, but {volume.duration(seconds)} are there and an update takes {seconds_per_update:.2g} s here"
    else:
        reason = f"{shown}; where the held-out loss turns before their end, an earlier checkpoint is the one to keep"
    yield Proposal("n_train", pictures, "all there are: nothing else adds as much as pictures that differ", "the chapter's section 11.3")
    yield Proposal("train_batch_size", batch,
                   "small: at equal pictures shown it gives more updates, and noise does no harm where Adam's rate is chosen for it",
                   "Marek et al. 2025, arXiv:2507.07101 (language models); the batch race of the third lesson (embedded base)")
    few = f"; with {pictures / kinds:.0f} pictures a kind expect copying early" if pictures / kinds < FEW_A_KIND else ""
    yield Proposal("max_train_steps", steps, reason + few,
                   f"diffusers' DreamBooth LoRA example for Stable Diffusion 1.5: 500 updates of 1 on 5 pictures, 100 views; {VIEWS} is half of it")


def _adapter(pictures, kinds, near, name):
    rank = 4 if near else 8
    rank *= 2 if kinds > 3 else 1
    many = f", doubled for {kinds} kinds" if kinds > 3 else ""
    where = "near: a small change suffices" if near else "far: room for more than a change of style"
    yield Proposal("rank", rank, f"the territory is {where}{many}; raise it only where the loss on training pictures stays above that of a high rank",
                   f"Hu et al. 2021, section 7.2 (GPT-3: ranks 1 to 8 suffice); a place to begin on {name.rstrip(',')}")
    yield Proposal("alpha", float(rank), "equal to the rank, so that scaling is 1 and the strength is chosen after training, where it costs nothing",
                   "diffusers' train_text_to_image_lora.py sets lora_alpha = rank (Stable Diffusion)")
    yield Proposal("use_rslora", False, "one rank is trained, so there is nothing to hold equal over ranks", "Kalajdzievski 2023, arXiv:2312.03732")


def _rate(own, name):
    rate = START_RATE["embedded" if own else "stable diffusion"]
    source = "the kit's default" if own else "the default of diffusers' train_text_to_image_lora.py (Stable Diffusion)"
    yield Proposal("learning_rate", rate, f"where the short test begins on {name.rstrip(',')}, not where it ends: it climbs or descends from there", source)
    yield Proposal("lr_scheduler", "linear", "falls to zero, so that the last updates settle what the first ones found; the short test itself runs at a constant rate",
                   "Defazio et al. 2023, arXiv:2310.07831 (several tasks, none of them LoRA)")
    yield Proposal("lr_warmup_steps", 0, "B starts at zero, so the first updates change little by themselves; add some where the rate sits just below an unstable one",
                   "Hu et al. 2021, section 4.1")


def given_first(proposals, fields) -> list[Proposal]:
    """Let the fields that a design gives go before what is proposed; fields: of `config.named_fields`, base, data and seed left aside."""
    given = {name: value for name, value in RunConfig.from_dict(fields).to_dict().items() if fields.get(name) is not None and name not in ("base", "data", "seed")}
    replaced = set(given) | ({"alpha"} if "rank" in given else set()) | ({"max_train_steps"} if "num_train_epochs" in given else set())
    return [*(proposal for proposal in proposals if proposal.field not in replaced),
            *(Proposal(name, value, "given", "the design that was handed in") for name, value in given.items())]


def proposed(proposals, **changes) -> RunConfig:
    """Return the configuration of some proposals, with fields changed or added."""
    return RunConfig.from_dict({proposal.field: proposal.value for proposal in proposals} | changes)


def reasons(proposals, **own: str) -> Mapping[str, str]:
    """Return the text for a design's `reasons`; `own` replaces or adds a reason."""
    return {proposal.field: f"{proposal.reason}. From: {proposal.source}" for proposal in proposals} | own
