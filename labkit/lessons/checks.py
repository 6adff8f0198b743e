"""Checks of the answers that single lessons ask for: a first run, twin runs, epochs and batches, a whole design."""

import math
from collections.abc import Sequence
from pathlib import Path

from labkit.design import volume
from labkit.design.config import load_design
from labkit.design.design_file import read_design
from labkit.design.naming import differing
from labkit.errors import LabError
from labkit.experiments.preflight import look_over
from labkit.experiments.sensitivity import KNOBS, sensitivity
from labkit.experiments.turning_points import boundary
from labkit.judge.arms import difference, losses, rise
from labkit.judge.stats import by_picture, interval_of
from labkit.lessons.exercises import Checks, given_differently
from labkit.lessons.results import Result, check
from labkit.store.history import Run
from labkit.store.recorded import missing, recorded_or_none
from labkit.text import counted, with_interval

RISES, FALLS, STAYS = "rises", "falls", "stays"
ALIKE = 0.1  # of the gain: ends no farther apart count as the same
APART = 4  # times: scalings nearer than this are no test
EXPECTED = ("short_test_rate", "scaling", "num_train_epochs", "base_loss")  # what a finished design says it expects


class FirstChecks(Checks):
    """Check a newcomer's answers: what a run forgot, where its curve was, and how to break it."""

    @check
    def forgetting(self, answer, run) -> Result:
        """Check whether the loss on ordinary pictures 'rises', 'falls' or 'stays'.

        It stays where the 95 % interval of its change holds nought.
        """
        run = self._own(run)
        if answer is None:
            raise LabError(f"There is no prediction yet: '{RISES}', '{FALLS}' or '{STAYS}'?")
        if answer not in (RISES, FALLS, STAYS):
            raise LabError(f"{answer!r} is none of '{RISES}', '{FALLS}' and '{STAYS}'.")
        if "ordinary" not in run.validations:
            raise LabError(f"Run {run.run_id} was trained without measuring ordinary pictures: "
                           "train it again with the usual measurements.")
        change = rise(run, 0, "ordinary")
        if not math.isfinite(change.mean):
            raise LabError(f"Run {run.run_id} broke before its end: train one at a lower rate.")
        observation = f"the loss on ordinary pictures changed by {with_interval(change)}"
        right = RISES if change.low > 0 else FALLS if change.high < 0 else STAYS
        if answer != right:
            raise LabError(f"Not so: {observation}. Why? Then put down what it did.")
        updates = counted(len(run.steps["global_step"]), "update")
        return f"As you say, it {right}: {observation}, in {updates} on other places."

    @check
    def half_way(self, answer, run) -> Result:
        """Check that `answer` is the update at which half of the final fall of the held-out loss was made.

        The record tells it as nearly as its evaluations lie: after the last that was surely above half, by the first
        that was surely below.
        """
        run = self._own(run)
        if answer is None:
            raise LabError("There is no answer yet: a number of updates, read off the curve.")
        measured = run.validations["validation"]
        if not rise(run, 0).high < 0:
            raise LabError("The held-out loss of this run has not fallen beyond noise, so there is no half of it: "
                           "train a run that learns.")
        half = (by_picture(measured.losses[0]) + by_picture(measured.losses[-1])) / 2
        above_half = [interval_of(by_picture(values) - half) for values in measured.losses]
        evaluations = list(zip(measured.steps, above_half, strict=True))
        before = max(step for step, above in evaluations if above.low > 0)
        after = min(step for step, above in evaluations if above.high < 0 and step > before)
        try:
            is_right = before < float(answer) <= after
        except (TypeError, ValueError):
            raise LabError(f"{answer!r} is not a number of updates.") from None
        if not is_right:
            raise LabError(f"At {answer} the curve of held-out pictures was not half of the way down: "
                           "where is the height midway between its two ends?")
        return (f"The loss fell from {measured.means[0]:.3f} to {measured.means[-1]:.3f}; "
                f"half of that was made after update {before} and by update {after}, of {measured.steps[-1]}.")

    @check
    def too_hard(self, run, learned) -> Result:
        """Check that `run` ends worse than the untouched model, and differs from the run that `learned` by its rate.

        Its number of updates may differ, too.
        """
        learned, run = self._own(learned), self._own(run)
        differences = given_differently(learned, run)
        others = [name for name in differences if name not in ("learning_rate", "max_train_steps")]
        if others or run.config.learning_rate == learned.config.learning_rate:
            raise LabError("Change the learning rate and nothing else (fewer updates are fine); "
                           f"here differ: {', '.join(differences) or 'none'}.")
        if not rise(learned, 0).high < 0:
            raise LabError("The first run should have learned beyond noise, or breaking the second says nothing.")
        worse = rise(run, 0)
        if math.isfinite(worse.mean) and not worse.low > 0:
            raise LabError("This run does not end above the untouched model beyond noise "
                           f"({with_interval(worse)}): push harder.")
        start, end, better = losses(run, 0).mean(), losses(run).mean(), losses(learned).mean()
        after = f"{end:.3f}" if math.isfinite(end) else "no number any more"
        return (f"Held-out loss {start:.3f} before and {after} after: at {run.config.learning_rate:g} training made "
                f"the model worse than leaving it alone, at {learned.config.learning_rate:g} it made it better "
                f"({better:.3f}).")


class TwinChecks(Checks):
    """Check that two runs of different scaling learned the same, found by the rate alone."""

    @check
    def twins(self, run, other) -> Result:
        """Check that two runs differ in alpha and rate alone, their scalings by APART at least, and end alike."""
        run, other = self._own(run), self._own(other)
        differences = differing([run, other])
        if differences != ["alpha", "learning_rate"] or run.config.learning_rate == other.config.learning_rate:
            raise LabError("The two runs must differ in alpha and in the rate, and in nothing else; "
                           f"here differ: {', '.join(differences)}.")
        smaller, larger = sorted([run.config.scaling, other.config.scaling])
        if larger < APART * smaller * (1 - 1e-9):
            raise LabError(f"The scalings {smaller:g} and {larger:g} are too near to each other: "
                           f"take alphas at least {APART} times apart.")
        gain, apart = -rise(run, 0).mean, difference(other, run)
        if not gain > 0 or not math.isfinite(apart.mean):
            raise LabError("Both runs must learn something and stay finite: lower the rate of the one that broke.")
        observation = (f"the second ends {with_interval(apart)} from the first, "
                       f"{abs(apart.mean) / gain:.0%} of its gain (over pictures, one seed)")
        if abs(apart.mean) > ALIKE * gain:
            has_learned_less = apart.mean > 0 and losses(other).mean() < losses(run, 0).mean()
            raise LabError(f"Not alike yet: {observation}; at most {ALIKE:.0%} is asked. "
                           f"{'Raise' if has_learned_less else 'Change'} the second run's rate and train it again.")
        return (f"Scaling {run.config.scaling:g} and {other.config.scaling:g} learned alike at rates "
                f"{run.config.learning_rate:g} and {other.config.learning_rate:g}: {observation}.")


class VolumeChecks(Checks):
    """Check plans of epochs and batches, and the update at which a run turned."""

    @check
    def volume(self, updates, run, *, n_train: int, views: int, batch: int) -> Result:
        """Check that `run` used `n_train` pictures, `batch` an update, showed each `views` times, and made `updates`.

        updates    the number that was predicted for the run
        """
        if updates is None:
            raise LabError("There is no prediction yet: how many updates will the run make?")
        run = self._own(run)
        config, made = run.config, int(run.steps["global_step"][-1])
        shown = int(run.steps["samples_seen"][-1])
        if config.n_train != n_train:
            raise LabError(f"The run used {config.n_train} pictures, not {n_train}: set n_train.")
        if config.effective_batch_size != batch:
            raise LabError(f"The run took {config.effective_batch_size} pictures at a time, not {batch}: "
                           "set train_batch_size.")
        if shown != n_train * views:
            raise LabError(f"The run showed {shown:,} pictures, each {shown / n_train:.3g} times, not {views}: "
                           f"{views} epochs do it.")
        if _number(updates) != made:
            raise LabError(f"You said {updates}; the run made {counted(made, 'update')}. "
                           "How many pictures did each of them take?")
        return (f"{counted(made, 'update')} of {batch} showed {shown:,} pictures, "
                f"each of {n_train} exactly {views} times, as predicted.")

    @check
    def turning(self, answer, run) -> Result:
        """Check that `answer` is the update of the lowest held-out loss of `run`, within its interval."""
        run = self._own(run)
        time = boundary(run)["validation"]
        if not math.isfinite(time.step):
            raise LabError("The held-out loss of this run is lowest at its end, so it has not turned: "
                           f"{time.text()}. Use fewer pictures or more updates.")
        if answer is None:
            raise LabError("There is no answer yet: at which update is the held-out loss lowest?")
        if not time.low <= _number(answer) <= time.high:
            raise LabError(f"{answer} is not where this run turned: look for the lowest point of the line of "
                           "held-out pictures, not of the training pictures.")
        epochs = volume.views(time.step, run.config.effective_batch_size, run.config.n_train)
        return (f"The held-out loss was lowest at update {time.text()}, after {epochs:.3g} epochs: "
                "that is the checkpoint to keep.")


class SynthesisChecks(Checks):
    """Check answers about whole designs: which knob matters, and whether a written design may be trained."""

    @check
    def explains(self, answer, runs: Sequence[Run] | None = None) -> Result:
        """Check that `answer` is the knob that explains most of a grid of runs; runs: None takes the recorded ones."""
        if not answer:
            raise LabError("There is no answer yet: name a knob.")
        if answer not in KNOBS:
            raise LabError(f"{answer!r} is none of the knobs: {', '.join(KNOBS)}.")
        runs = runs or recorded_or_none("knobs")
        if not runs:
            raise LabError(missing("knobs"))
        effects = sensitivity(runs)
        share = effects.alone.get(answer)
        largest = max(effects.alone.values(), key=lambda share: share.mean)
        if share is None or share.high < largest.low:
            raise LabError(f"{answer} alone explains {share.mean if share else 0:.0%}, another knob more, "
                           "beyond noise. Look at the filled bars.")
        if share is largest:
            return effects.sentence
        return (f"Nor can {answer} ({share.mean:.0%}, {share.low:.0%} to {share.high:.0%}) be told from the one "
                f"that comes first. {effects.sentence}")

    @check
    def ready(self, path: Path | str, **required) -> Result:
        """Check that a design file is complete, and that the checklist finds nothing that would spoil the run.

        required    fields and the values they must have; num_train_epochs stands for the updates they come to
        """
        if not isinstance(path, str | Path):
            raise LabError("There is no design yet: write one with write_design and hand in its path.")
        if not Path(path).is_file():
            raise LabError(f"There is no file {path}: write_design gives the path of what it wrote.")
        notes = read_design(path)
        lacking = [name for name in EXPECTED if name not in notes.expected]
        if lacking:
            raise LabError(f"The design does not say what it expects: {', '.join(lacking)} missing. "
                           "`expectations` gives all of them.")
        config = self.lab.config(load_design(path))
        if epochs := required.pop("num_train_epochs", None):
            required["max_train_steps"] = volume.updates(config.n_train, config.effective_batch_size, epochs)
        for name, value in required.items():
            if getattr(config, name) != value:
                why = f" for {epochs} epochs." if name == "max_train_steps" else "."
                raise LabError(f"{name} is {getattr(config, name)} in the design, where {value} is asked{why}")
        if not notes.reasons:
            raise LabError("The design gives no reasons: "
                           "write_design takes a text for every field that was decided.")
        bad = [finding for finding in look_over(path, lab=self.lab) if finding.state == "bad"]
        if bad:
            raise LabError(f"The checklist would stop it: {bad[0].name}: {bad[0].found}. {bad[0].remedy}")
        return (f"{len(notes.reasons)} decisions have their reasons, "
                "and the checklist finds nothing that would spoil the run.")


def _number(answer) -> float:
    """Return an answer as a number; not a number where it is none."""
    try:
        return float(answer)
    except (TypeError, ValueError):
        return math.nan
