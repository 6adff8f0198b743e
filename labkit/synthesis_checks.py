"""Checks of answers about whole designs: which knob matters, and whether a written design may be trained."""

from pathlib import Path

from labkit.checklist import look_over
from labkit.errors import LabError
from labkit.evidence import missing, recorded_or_none
from labkit.exercises import Checks, Result, check
from labkit.sensitivity import KNOBS, sensitivity


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
        shares = {name: share.mean for name, share in found.alone.items()}
        if shares.get(answer, 0.0) < max(shares.values()):
            raise LabError(f"{answer} alone explains {shares.get(answer, 0.0):.0%}, another knob more. Look at the filled bars.")
        return found.sentence

    @check
    def ready(self, path, n_train=None) -> Result:
        """Check that a design file is complete and that the checklist finds nothing bad; n_train: pictures that it must use."""
        if path is None:
            raise LabError("There is no design yet: write one with write_design and hand in its path.")
        if not Path(path).is_file():
            raise LabError(f"There is no file {path}: write_design gives the path of what it wrote.")
        from labkit.design import read_design
        said = read_design(path)
        lacking = [name for name in ("short_test_rate", "scaling", "num_train_epochs", "base_loss") if name not in said.expected]
        if lacking:
            raise LabError(f"The design does not say what it expects: {', '.join(lacking)} missing. `expectations` gives all of them.")
        if n_train and said.fields.get("n_train") != n_train:
            raise LabError(f"The design uses {said.fields.get('n_train')} pictures, not {n_train}.")
        bad = [finding for finding in look_over(path, lab=self.lab) if finding.state == "bad"]
        if bad:
            raise LabError(f"The checklist would stop it: {bad[0].name}: {bad[0].found}. {bad[0].remedy}")
        return f"{len(said.reasons)} decisions have their reasons, and the checklist finds nothing that would spoil the run."
