"""Checks of answers about whole designs: which knob matters, and whether a written design may be trained."""

from pathlib import Path

from labkit.design import volume
from labkit.design.config import load_design
from labkit.errors import LabError
from labkit.experiments.preflight import look_over
from labkit.experiments.sensitivity import KNOBS, sensitivity
from labkit.lessons.exercises import Checks, Result, check
from labkit.store.recorded import missing, recorded_or_none


class SynthesisChecks(Checks):
    """Check answers about designs beside what `Checks` does."""

    @check
    def explains(self, answer, runs=None) -> Result:
        """Check that `answer` is the knob that explains most of a grid of runs; runs: None takes the recorded ones."""
        if answer not in KNOBS:
            raise LabError(f"{answer!r} is none of the knobs: {', '.join(KNOBS)}." if answer else "There is no answer yet: name a knob.")
        runs = runs or recorded_or_none("knobs")
        if not runs:
            raise LabError(missing("knobs"))
        found = sensitivity(runs)
        mine, most = found.alone.get(answer), max(found.alone.values(), key=lambda share: share.mean)
        if mine is None or mine.high < most.low:
            raise LabError(f"{answer} alone explains {mine.mean if mine else 0:.0%}, another knob more, beyond noise. Look at the filled bars.")
        tied = "" if mine is most else f"Nor can {answer} ({mine.mean:.0%}, {mine.low:.0%} to {mine.high:.0%}) be told from the one that comes first. "
        return tied + found.sentence

    @check
    def ready(self, path, **asked) -> Result:
        """Check that a design file is complete and as asked for, and that the checklist finds nothing bad.

        asked     fields that it must have, and `num_train_epochs`, which max_train_steps must come to (within one update)
        """
        if not isinstance(path, str | Path):
            raise LabError("There is no design yet: write one with write_design and hand in its path.")
        if not Path(path).is_file():
            raise LabError(f"There is no file {path}: write_design gives the path of what it wrote.")
        from labkit.design.design_file import read_design
        said = read_design(path)
        lacking = [name for name in ("short_test_rate", "scaling", "num_train_epochs", "base_loss") if name not in said.expected]
        if lacking:
            raise LabError(f"The design does not say what it expects: {', '.join(lacking)} missing. `expectations` gives all of them.")
        config = self.lab.config(load_design(path))
        if epochs := asked.pop("num_train_epochs", None):
            asked["max_train_steps"] = volume.updates(config.n_train, config.effective_batch_size, epochs)
        for name, value in asked.items():
            if getattr(config, name) != value:
                raise LabError(f"{name} is {getattr(config, name)} in the design, where {value} is asked" + (f" for {epochs} epochs." if name == "max_train_steps" else "."))
        if not said.reasons:
            raise LabError("The design gives no reasons: write_design takes a text for every field that was decided.")
        bad = [finding for finding in look_over(path, lab=self.lab) if finding.state == "bad"]
        if bad:
            raise LabError(f"The checklist would stop it: {bad[0].name}: {bad[0].found}. {bad[0].remedy}")
        return f"{len(said.reasons)} decisions have their reasons, and the checklist finds nothing that would spoil the run."
