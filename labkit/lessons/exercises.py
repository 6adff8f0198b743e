"""Check answers against the numbers of a learner's own runs: the result is 'passed' or 'not yet', with a sentence why.

A check never raises for what a learner does. What is missing is raised inside as LabError and becomes the sentence.
"""

import functools
import html
import math
import unicodedata
from dataclasses import dataclass

import numpy as np

from labkit.design.config import differing_fields, run_id
from labkit.design.ladders import LADDERS, rung_text
from labkit.design.naming import DERIVED
from labkit.design.parameters import checked
from labkit.engine.seeding import seed63
from labkit.errors import LabError
from labkit.judge.arms import noise_among
from labkit.judge.diagnose import DIVERGED, MIN_CONFIDENCE, OVERSHOOTING, UNSURE, diagnose
from labkit.judge.findings import SHARED_RISE
from labkit.judge.stats import by_picture, interval_of, paired_difference, seeds_difference
from labkit.store.history import Run
from labkit.store.runs import COMPLETE
from labkit.text import counted
from labkit.view.cards import CARD

PASSED, NOT_YET = "passed", "not yet"
MARKS = {PASSED: ("✔", "#00785A"), NOT_YET: ("○", "#A86200")}
SEEDS = 2  # runs needed at a rung: one alone is one draw of order and noise
OWN_SEEDS = 10  # a learner's seeds: the first and those after it
BROKEN = {DIVERGED: 1.0, OVERSHOOTING: 1.0, UNSURE: 0.5}  # how much a verdict speaks against a run's stability


@dataclass(frozen=True)
class Result:
    """Hold what a check found; a notebook shows it as a card, anything else as one line."""

    outcome: str
    sentence: str

    @property
    def passed(self) -> bool:
        """Tell whether the exercise is done, for plain asserts."""
        return self.outcome == PASSED

    def __repr__(self):
        return f"{self.outcome}: {self.sentence}"

    def _repr_html_(self):
        mark, color = MARKS[self.outcome]
        return (f"<div role='status' style='{CARD.format(color=color)}'><b style='color:{color}'>{mark} {self.outcome}</b> "
                f"{html.escape(self.sentence)}</div>")


def own_seed(student, seed=0):
    """Return the first of a student's ten seeds, from the name or number and `seed`; `seed` itself without one.

    Case and spaces don't count, nor do a number's leading zeros: papermill reads 007 as 7.
    """
    name = " ".join(unicodedata.normalize("NFKC", checked("student", student, "")).casefold().split())
    if name.isdecimal():
        name = name.lstrip("0") or "0"
    return OWN_SEEDS * (1 + seed63(seed or 0, "student", name) % 10**6) if name else seed


def check(method):
    """Make a Result of what a method returns, or of the LabError that says what is missing."""

    @functools.wraps(method)
    def checked(*arguments, **options) -> Result:
        try:
            return Result(PASSED, method(*arguments, **options))
        except LabError as error:
            return Result(NOT_YET, str(error))
        except (TypeError, ValueError, OverflowError) as error:               # an answer of a kind that nobody thought of
            return Result(NOT_YET, f"What was handed in cannot be checked ({error}): see what the exercise asks for, a number, a word or a run.")

    return checked


class Checks:
    """Check answers against runs on one lab's base and pictures, made with one learner's seeds.

    lab     a `labkit.lab.Lab`; its store is where runs are looked for
    seed    the learner's first seed; it and the nine after it are the learner's own

    `run` is everywhere a Run or a run id. Losses are held-out ones on fixed noise at the end of a run, differences
    are paired over pictures, with 95 % intervals over pictures and seeds.
    """

    def __init__(self, lab, seed: int = 0):
        self.lab, self.seeds = lab, range(seed, seed + OWN_SEEDS)

    @check
    def best(self, answer, design, name: str = "learning_rate", runs=None) -> Result:
        """Check that neither neighbour of `answer` on the ladder of `name` ends lower beyond noise.

        design    what the runs have in common, but for `name` and the seed
        runs      look among these only, all the learner's own; None looks in the store
        """
        at = _rung(name, answer)
        value, neighbours = LADDERS[name][at], LADDERS[name][max(at - 1, 0):at] + LADDERS[name][at + 1:at + 2]
        found = self._rungs(name, (value, *neighbours), design, runs)
        if not _finite(found[value]):
            raise LabError(f"At {rung_text(name, value)} the loss is no longer a number: go down the ladder.")
        rungs = [runs for runs in found.values() if _finite(runs)]
        noise = noise_among([_losses(runs) for runs in rungs], [_losses(runs, 0).mean() for runs in rungs])
        for other in filter(lambda other: _finite(found[other]), neighbours):
            higher = _difference(found[value], found[other], noise)
            if higher.low > 0:
                raise LabError(f"{rung_text(name, other)} ends lower than {rung_text(name, value)}, by {with_interval(higher)} over pictures and "
                               f"{len(found[other])} seeds. What made you expect otherwise? Answer again.")
        return f"No neighbour of {rung_text(name, value)} is lower beyond noise of pictures and seeds: held-out loss ends at {_ends(name, found)}, {len(found[value])} seeds each."

    @check
    def largest_stable(self, answer, design, name: str = "learning_rate", runs=None) -> Result:
        """Check that runs at `answer` learn and stay stable while those one rung above do not; near the border seeds may disagree.

        Arguments are those of `best`.
        """
        at = _rung(name, answer)
        if at + 1 == len(LADDERS[name]):
            raise LabError(f"The ladder ends at {rung_text(name, answer)}, so nothing above shows that it is the largest: go down a rung.")
        value, above = LADDERS[name][at:at + 2]
        found = self._rungs(name, (value, above), design, runs)
        mine, upper = (float(np.mean([BROKEN.get(diagnose(run).label, 0.0) for run in found[rung]])) for rung in (value, above))
        seen = f"held-out loss ends at {_ends(name, found)}, {len(found[value])} seeds each"
        if mine == 1:
            raise LabError(f"{rung_text(name, value)} is not stable with any seed ({seen}): go down the ladder.")
        if upper == 0:
            raise LabError(f"{rung_text(name, above)}, the rung above, is stable as well ({seen}): go up the ladder.")
        if mine >= upper:
            raise LabError(f"Your seeds do not tell {rung_text(name, value)} and {rung_text(name, above)} apart ({seen}): add a seed at both, or train longer.")
        if not any(_change(run).high < 0 for run in found[value]):
            raise LabError(f"At {rung_text(name, value)} nothing was learned beyond noise ({seen}): stable is more than standing still.")
        if _finite(found[above]) and not all(_difference([upper], [lower]).low > 0 for upper, lower in zip(found[above], found[value])):
            raise LabError(f"{rung_text(name, above)} does not end higher than {rung_text(name, value)} with every seed ({seen}): add a seed at both, or train longer.")
        return f"{rung_text(name, value)} learns and is stable, {rung_text(name, above)} is not: {seen}."

    @check
    def overfitting(self, run, gentler, answer) -> Result:
        """Check that `run` overfits, that `gentler` differs by a lower rate alone, and what that did: 'prevents' or 'delays'."""
        run, gentler = self._own(run), self._own(gentler)
        found = _evidence(run)
        if not _rises(found):
            raise LabError(f"The held-out loss does not rise beyond noise from its lowest ({with_interval(found['rise'])} since step {found['best_step']}): "
                           "fewer pictures, a larger rank or more updates make it.")
        if found["probe_since_best"].mean >= SHARED_RISE * found["rise"].mean:
            raise LabError(f"The loss on training pictures rises with it ({with_interval(found['probe_since_best'])}), so this is overshooting: lower the rate.")
        if given_differently(run, gentler) != ["learning_rate"] or gentler.config.learning_rate >= run.config.learning_rate:
            raise LabError(f"The second run must differ from the first by a lower learning rate alone; here differ: {', '.join(given_differently(run, gentler)) or 'none'}.")
        right, seen = _kept_from_turning(run, gentler)
        if str(answer).strip().casefold() not in right:
            said = "There is no answer yet" if answer is None else f"Your answer {answer!r} does not fit"
            raise LabError(f"{said}: compare when each run turned, and how low its loss on training pictures had come by then. Is it 'prevents' or 'delays'?")
        return f"The first run turned at step {found['best_step']} and rose by {with_interval(found['rise'])}; {seen} One seed each."

    @check
    def failure(self, healthy, broken, knob=None) -> Result:
        """Check that `broken` fails where `healthy` learns, and that one knob other than rate and seed is all that differs: `knob`, where one is asked."""
        healthy, broken = self._own(healthy), self._own(broken)
        differs = given_differently(healthy, broken)
        if knob and differs != [knob]:
            raise LabError(f"{knob} alone must differ; here differ: {', '.join(differs) or 'none'}.")
        if len(differs) != 1 or differs[0] in ("learning_rate", "lr_edits", "seed"):
            raise LabError(f"One knob must differ, other than the rate and the seed; here differ: {', '.join(differs) or 'none'}.")
        change = f"{differs[0]} {getattr(healthy.config, differs[0])} → {getattr(broken.config, differs[0])}"
        if BROKEN.get(diagnose(healthy).label) or not _change(healthy).high < 0:
            raise LabError(f"The first run should learn and stay stable; it is: {diagnose(healthy).sentence}")
        if BROKEN.get(diagnose(broken).label) != 1:
            raise LabError(f"The second run does not fail ({change}): {diagnose(broken).sentence} Go further with this knob, or try another.")
        if _finite([broken]) and not (higher := _difference([broken], [healthy])).low > 0:
            raise LabError(f"The second run ends no higher than the first beyond noise ({with_interval(higher)}): go further with this knob, or train longer.")
        return f"{change} was enough: held-out loss {_end([healthy])} in one run, {_end([broken])} in the other, at the same rate and with one seed."

    def _rungs(self, name, values, design, runs) -> dict:
        """Return {value: runs}, each value with the same seeds; LabError names the runs that are still to be trained."""
        given = None if runs is None else {run.run_id: run for run in map(self._own, runs)}
        found, unusable = {seed: {} for seed in self.seeds}, {}
        for seed in self.seeds:
            for value in values:
                try:
                    run = self._find(self.lab.config(design, **{name: value, "seed": seed}), given)
                    found[seed] |= {value: run} if run else {}
                except LabError as error:
                    unusable[seed, value] = str(error)
        complete = [seed for seed in self.seeds if len(found[seed]) == len(values)]
        if len(complete) >= SEEDS:
            _comparable("validation", [found[seed][value] for seed in complete for value in values])
            return {value: [found[seed][value] for seed in complete] for value in values}
        nearest = sorted(self.seeds, key=lambda seed: -len(found[seed]))[:SEEDS]
        lacking = [(seed, value) for seed in sorted(nearest) for value in values if value not in found[seed]]
        wanted = ", ".join(f"{rung_text(name, value)} with seed {seed}" for seed, value in lacking)
        why = " ".join(unusable[pair] for pair in lacking if pair in unusable)
        raise LabError(f"Runs are missing that differ in {name} and seed alone: {wanted}. {why or 'Train them, then check again.'}")

    def _find(self, config, given):
        """Return the usable run of a resolved configuration, or None where there is none."""
        name = run_id(config, self.lab.base.fingerprint, self.lab.cache.fingerprint)
        if given is not None:
            return given.get(name)
        folder = self.lab.store.run(name)
        return self._own(folder.load()) if (folder.path / "config.json").exists() else None

    def _own(self, run) -> Run:
        """Return a run if it is complete, measured and the learner's own; LabError says what it is instead."""
        if isinstance(run, str) and run:
            run = self.lab.store.named(run).load()
        if not isinstance(run, Run) or run.config is None:
            raise LabError("There is no run yet: hand in what lab.train returned, or a run's id.")
        if not run.config.is_resolved or run.run_id != run_id(run.config, self.lab.base.fingerprint, self.lab.cache.fingerprint):
            raise LabError(f"Run {run.run_id} was trained on another base or other pictures than this lesson's, or its record was changed: train it here.")
        if run.config.seed not in self.seeds:
            raise LabError(f"Run {run.run_id} has seed {run.config.seed}, yours are {self.seeds[0]} to {self.seeds[-1]}: it looks like somebody else's. Train your own.")
        if run.status == "error":
            raise LabError(f"Run {run.run_id} failed{': ' + run.stopped.message if run.stopped and run.stopped.message else ''}. Mend that and train it again.")
        if run.status not in COMPLETE:
            made = run.steps["global_step"][-1] if len(run.steps["global_step"]) else 0
            raise LabError(f"Run {run.run_id} is unfinished ({made} of {counted(run.config.max_train_steps, 'update')}): let it end, or resume it.")
        if not {"validation", "probe"} <= run.validations.keys() or len(run.validations["validation"].steps) < 2:
            raise LabError(f"Run {run.run_id} was trained without measuring held-out and training pictures: train it again with the usual measurements.")
        return run


def _rung(name, answer) -> int:
    """Return the place of an answer on a ladder."""
    ladder = LADDERS[name]
    rungs = ", ".join(rung_text(name, value) for value in ladder)
    if answer is None and None not in ladder:
        raise LabError(f"There is no answer yet. It is a rung of the ladder: {rungs}.")
    for at, value in enumerate(ladder):
        if value is answer or isinstance(answer, str | int | float) and value is not None and _same(value, answer):
            return at
    raise LabError(f"{answer!r} is not on the ladder: take one of {rungs}.")


def _same(value, answer) -> bool:
    try:
        return value == answer or math.isclose(float(value), float(answer))
    except ValueError:
        return False


def _losses(runs, at=-1):
    """Return the held-out losses (seeds, pictures) of runs that differ by the seed, at one evaluation."""
    return np.stack([by_picture(run.validations["validation"].losses[at]) for run in runs])


def _difference(runs, others, noise=None):
    """Return how much higher `runs` end than `others`, over pictures and seeds; of one run each, over pictures."""
    _comparable("validation", [*runs, *others])
    return seeds_difference(_losses(runs), _losses(others), noise)


def _change(run):
    """Return by how much the held-out loss changed over one run."""
    losses = run.validations["validation"].losses
    return paired_difference(losses[-1], losses[0])


def _comparable(name, runs):
    """Raise LabError unless the runs were measured on the same pictures, timesteps and noise."""
    for run in runs:
        if not np.array_equal(run.timesteps[name], runs[0].timesteps[name]):
            raise LabError(f"Runs {run.run_id} and {runs[0].run_id} were measured on different pictures: train both again, with the same measurements.")


def _finite(runs) -> bool:
    """Tell whether all runs end with a loss that is a number."""
    return all(np.isfinite(run.validations["validation"].losses[-1]).all() for run in runs)


def _evidence(run) -> dict:
    """Return the numbers of a run's verdict."""
    verdict = diagnose(run)
    if verdict.label == DIVERGED:
        raise LabError(f"Run {run.run_id} broke instead: {verdict.sentence}")
    return verdict.evidence


def _rises(found) -> bool:
    """Tell whether the held-out loss rose from its lowest, beyond noise and by more than a small share of what was gained."""
    return found["share_of_draws_that_rise"] >= MIN_CONFIDENCE


def _kept_from_turning(run, gentler):
    """Return the answers that fit, and what was seen: did the lower rate keep the run from turning, or only from getting there?"""
    first, second = _evidence(run), _evidence(gentler)
    if _rises(second):
        if second["best_step"] <= first["best_step"]:
            raise LabError(f"At the lower rate the run turned no later, at step {second['best_step']}: choose a rate further down.")
        return {"delays"}, f"at the lower rate it turned later, at step {second['best_step']}."
    _comparable("probe", [run, gentler])
    turned = run.validations["probe"].losses[list(run.validations["probe"].steps).index(first["best_step"])]
    left = interval_of(by_picture(gentler.validations["probe"].losses[-1]) - by_picture(turned))
    if left.low > 0:
        return {"delays"}, f"at the lower rate it has not come so far yet: on training pictures its loss is still {with_interval(left)} above where the first turned."
    if left.high < 0:
        return {"prevents"}, f"at the lower rate it went further on training pictures, by {with_interval(left)}, and did not turn."
    return {"delays", "prevents"}, "at the lower rate it came just as far and has not turned: these updates cannot tell the two answers apart."


def given_differently(run, other) -> list[str]:
    """Return the fields that two runs were given differently."""
    differing = differing_fields([run.config.to_dict(), other.config.to_dict()])
    return [name for name in differing if name not in DERIVED]


def _end(runs) -> str:
    """Write the mean of the final held-out losses."""
    return f"{np.mean([run.validations['validation'].means[-1] for run in runs]):.3f}" if _finite(runs) else "not finite"


def _ends(name, found) -> str:
    """Write the final loss at every value, in the ladder's order."""
    return ", ".join(f"{rung_text(name, value)}: {_end(found[value])}" for value in sorted(found, key=LADDERS[name].index))


def with_interval(interval) -> str:
    """Write a difference with its interval."""
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
