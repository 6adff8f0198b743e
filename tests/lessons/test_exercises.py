"""Checks of exercises, on made runs: what passes, what does not yet, and that nothing a learner hands in raises."""

import dataclasses
import re

import numpy as np
import pytest
from made_runs import made_run
from own_runs import broke_early, lab_of_names, own

from labkit.errors import LabError
from labkit.lessons.exercises import Checks, own_seed
from labkit.store.events import Stopped
from labkit.store.runs import Store


@pytest.fixture
def lab():
    return lab_of_names()


@pytest.fixture
def checks(lab):
    return Checks(lab)


def at_rungs(kinds, seeds=(0, 1), **ends):
    return [own(kind, rate, seed, end=ends.get(kind, 0.0)) for rate, kind in kinds.items() for seed in seeds]


VALLEY = {3e-4: "stagnating", 1e-3: "healthy", 3e-3: "healthy", 1e-2: "overshooting", 3e-2: "diverged",
          1e-1: "blown up"}
RUNS = at_rungs(VALLEY)


def test_the_largest_stable_rate_passes_and_the_sentence_has_its_numbers(checks):
    result = checks.largest_stable(3e-3, None, runs=RUNS)
    assert result.passed and "3e-3 learns and is stable, 1e-2 is not" in result.sentence
    assert "3e-3: 0.100, 1e-2: 0.240, 2 seeds each" in result.sentence


@pytest.mark.parametrize("answer, words", [
    (1e-3, "3e-3, the rung above, is stable as well"), (1e-2, "1e-2 is not stable with any seed"),
    (3e-2, "go down the ladder"), (None, "no answer yet"), (5e-3, "0.005 is not on the ladder"),
    ("often", "not on the ladder"), ([1], "not on the ladder"),
    (3e-1, "The ladder ends at 3e-1"), (1e-4, "Runs are missing.*1e-4 with seed 0, 1e-4 with seed 1")])
def test_any_other_answer_gets_a_sentence_that_says_where_to_go(checks, answer, words):
    result = checks.largest_stable(answer, None, runs=RUNS)
    assert not result.passed
    assert re.search(words, result.sentence), result


def test_one_seed_is_not_enough_and_the_missing_run_is_named(checks):
    result = checks.largest_stable(3e-3, None, runs=[run for run in RUNS if run.config.seed == 0])
    assert not result.passed and "3e-3 with seed 1, 1e-2 with seed 1" in result.sentence


def test_at_the_border_the_rung_where_seeds_disagree_and_the_one_below_both_pass(checks):
    border = [own("healthy", 3e-3, 0), own("healthy", 3e-3, 1),
              own("healthy", 1e-2, 0, end=0.03), own("overshooting", 1e-2, 1),
              own("diverged", 3e-2, 0), own("diverged", 3e-2, 1)]
    assert checks.largest_stable(3e-3, None, runs=border).passed
    assert checks.largest_stable(1e-2, None, runs=border).passed
    even = [own("healthy", 3e-3, 0), own("overshooting", 3e-3, 1),
            own("overshooting", 1e-2, 0), own("healthy", 1e-2, 1)]
    assert "seeds do not tell 3e-3 and 1e-2 apart" in checks.largest_stable(3e-3, None, runs=even).sentence


def test_a_rate_at_which_nothing_is_learned_is_not_a_stable_one(checks):
    runs = at_rungs({1e-3: "stagnating", 3e-3: "overshooting"}, stagnating=0.014)
    assert "stable is more than standing still" in checks.largest_stable(1e-3, None, runs=runs).sentence


def test_the_best_rate_is_one_that_no_neighbour_beats_beyond_noise(checks):
    assert checks.best(3e-3, None, runs=RUNS).passed
    assert checks.best("1e-3", None, runs=RUNS).passed  # as good as its neighbour: a tie is not held against it
    clear = [run if run.config.learning_rate != 3e-3 else own("healthy", 3e-3, run.config.seed, end=-0.02)
             for run in RUNS]
    result = checks.best(1e-3, None, runs=clear)
    assert "3e-3 ends lower than 1e-3, by +0.02" in result.sentence and "2 seeds" in result.sentence
    broken = [*RUNS, own("blown up", 3e-1, 0), own("blown up", 3e-1, 1)]
    assert "no longer a number" in checks.best(1e-1, None, runs=broken).sentence


def test_a_run_that_broke_counts_as_broken_whatever_it_was_last_measured_at(checks):
    low_until_it_broke = [broke_early(own("healthy", 3e-3, seed)) for seed in (0, 1)]
    below = [own("stagnating", rate, seed) for rate in (3e-4, 1e-3) for seed in (0, 1)]
    runs = [*below, *low_until_it_broke]
    assert checks.best(1e-3, None, runs=runs).passed
    above = [own("healthy", 1e-2, seed) for seed in (0, 1)]
    assert "no longer a number: go down" in checks.best(3e-3, None, runs=[*runs, *above]).sentence
    learned = [own("healthy", 1e-3, seed) for seed in (0, 1)]
    result = checks.largest_stable(1e-3, None, runs=[*learned, *low_until_it_broke])
    assert result.passed and "1e-3: 0.100, 3e-3: not finite" in result.sentence
    result = checks.failure(own(), broke_early(own("healthy", alpha=64)))
    assert result.passed and "held-out loss 0.100 in one run, not finite in the other" in result.sentence


def test_other_knobs_have_their_ladders_too(checks):
    runs = [own("healthy", seed=seed, rank=rank, alpha=8, end=end)
            for seed in (0, 1) for rank, end in ((4, 0.02), (8, 0.0), (16, 0.0))]
    assert checks.best(8, {"alpha": 8}, "rank", runs=runs).passed
    runs += [own("stagnating", seed=seed, rank=2, alpha=8) for seed in (0, 1)]
    assert "8 ends lower than 4" in checks.best(4, {"alpha": 8}, "rank", runs=runs).sentence


def written(run, reason="finished", upto=200):
    """Write a made run into the store."""
    from labkit.store.events import Step, Validation

    with Store().run(run.run_id).writer(run.config) as writer:
        for name, curve in run.validations.items():
            for step, losses in zip(curve.steps, curve.losses, strict=True):
                if step <= upto:
                    writer.write(Validation(run.run_id, int(step), 4 * int(step), name, "monitor", losses,
                                            run.timesteps[name]))
        writer.write(Step(run.run_id, upto, 4 * upto, 0.1, 1e-3, 1.0, 0.1))
        if reason:
            message = "RuntimeError: out of memory" if reason == "error" else ""
            writer.write(Stopped(run.run_id, upto, 4 * upto, reason, message))
    return run.run_id


def test_without_runs_handed_in_the_store_is_looked_through(checks):
    assert "Runs are missing" in checks.largest_stable(3e-3, None).sentence
    for run in RUNS[4:8]:
        written(run)
    assert checks.largest_stable(3e-3, None).passed


@pytest.mark.parametrize("reason, words", [
    ("error", "failed: RuntimeError: out of memory"), ("stopped", "unfinished (90 of 200 updates)"),
    (None, "unfinished")])
def test_a_failed_or_unfinished_run_in_the_store_is_named_with_the_remedy(checks, reason, words):
    for run in RUNS[4:7]:
        written(run)
    written(RUNS[7], reason, upto=90)
    sentence = checks.largest_stable(3e-3, None).sentence
    assert "1e-2 with seed 1" in sentence and words in sentence


OVERFIT = dict(n_train=4, rank=32)


def test_making_it_overfit_and_slowing_it_down_passes_with_the_answer_that_fits(checks):
    run, gentler = own("overfitting", 1e-3, **OVERFIT), own("stagnating", 3e-4, **OVERFIT)
    assert checks.overfitting(run, gentler, "delays").passed
    assert "does not fit" in checks.overfitting(run, gentler, "prevents").sentence
    assert "no answer yet" in checks.overfitting(run, gentler, None).sentence


def test_a_lower_rate_that_goes_as_far_on_the_training_pictures_without_turning_prevents(checks):
    gentler = own("healthy", 3e-4, **OVERFIT)
    probe = gentler.validations["probe"]
    lower = probe._replace(losses=probe.losses * np.float32(0.5))
    gentler = dataclasses.replace(gentler, validations=gentler.validations | {"probe": lower})
    assert checks.overfitting(own("overfitting", 1e-3, **OVERFIT), gentler, "Prevents").passed


def test_a_lower_rate_that_turns_later_only_delays_and_one_that_turns_no_later_is_not_low_enough(checks):
    run, gentler = own("overfitting", 1e-3, **OVERFIT), own("overfitting", 3e-4, **OVERFIT)
    assert "turned no later" in checks.overfitting(run, gentler, "delays").sentence
    held = gentler.validations["validation"]
    later = held._replace(losses=np.stack([held.losses[i] for i in (0, 0, 1, 2, 3, 4, 6)]))
    gentler = dataclasses.replace(gentler, validations=gentler.validations | {"validation": later})
    assert "turned later, at step 90" in checks.overfitting(run, gentler, "delays").sentence


@pytest.mark.parametrize("run, gentler, words", [
    (own("healthy"), own("stagnating", 3e-4), "does not rise beyond noise"),
    (own("overshooting"), own("stagnating", 3e-4), "so this is overshooting"),
    (own("diverged"), own("stagnating", 3e-4), "broke instead"),
    (own("overfitting", rank=16), own("stagnating", 3e-4, rank=8), "here differ: rank, alpha, learning_rate"),
    (own("overfitting"), own("overfitting"), "here differ: none"),
    (own("overfitting"), own("stagnating", 3e-3), "lower learning rate alone")])
def test_what_is_no_overfitting_or_no_fair_comparison_is_told(checks, run, gentler, words):
    assert words in checks.overfitting(run, gentler, "delays").sentence


def test_one_other_knob_that_breaks_a_healthy_run_passes(checks):
    result = checks.failure(own(), own("diverged", alpha=64))
    assert result.passed and "alpha 8.0 → 64.0 was enough" in result.sentence
    assert checks.failure(own(), own("blown up", alpha=64)).passed


@pytest.mark.parametrize("healthy, broken, words", [
    (own(), own("diverged", 1e-1), "here differ: learning_rate"),
    (own(), own("diverged", seed=1), "here differ: seed"), (own(), own(), "here differ: none"),
    (own(), own("diverged", alpha=64, weight_decay=1.0), "here differ: alpha, weight_decay"),
    (own("diverged"), own("diverged", alpha=64), "should learn and stay stable"),
    (own(), own("healthy", alpha=64), "does not fail")])
def test_a_failure_by_the_rate_by_two_knobs_or_by_none_does_not_count(checks, healthy, broken, words):
    result = checks.failure(healthy, broken)
    assert not result.passed and words in result.sentence


def unfinished():
    return dataclasses.replace(own(), status="interrupted")


def failed():
    return dataclasses.replace(own(), status="error", stopped=Stopped("a", 1, 4, "error", "no memory"))


@pytest.mark.parametrize("run, words", [
    (None, "no run yet"), (7, "no run yet"), ("", "no run yet"), ("0" * 16, "no run 0000000000000000 in the store"),
    ("../..", "There is no run"),
    (made_run(), "another base or other pictures"), (dataclasses.replace(own(), config=None), "no run yet"),
    (dataclasses.replace(own(), config=own().config.replace(seed=3)), "its record was changed"),
    (unfinished(), "is unfinished (200 of 200 updates)"), (failed(), "failed: no memory"),
    (dataclasses.replace(own(), status="error"), "failed. Mend"), (own(seed=12), "seed 12, yours are 0 to 9"),
    (dataclasses.replace(own(), validations={}), "without measuring")])
def test_a_run_that_cannot_be_checked_gets_its_sentence_and_never_a_traceback(checks, run, words):
    for result in (checks.overfitting(run, own(), "delays"), checks.overfitting(own("overfitting"), run, "delays"),
                   checks.failure(run, own()), checks.failure(own(), run), checks.best(1e-3, None, runs=[run])):
        assert not result.passed
        assert words in result.sentence


def measured_anew(run, name="validation", pictures=16):
    """Make a run of which one set was measured on fewer pictures, or on other noise."""
    curve = run.validations[name]
    return dataclasses.replace(run, timesteps=run.timesteps | {name: run.timesteps[name][:pictures] + 1},
                               validations=run.validations | {name: curve._replace(losses=curve.losses[:, :pictures])})


def test_runs_measured_on_different_pictures_are_not_compared(checks):
    words = "measured on different pictures"
    for pictures in (16, 8):
        assert words in checks.failure(own(), measured_anew(own("diverged", alpha=64), pictures=pictures)).sentence
        anew = measured_anew(RUNS[7], pictures=pictures)
        assert words in checks.largest_stable(3e-3, None, runs=[*RUNS[4:7], anew]).sentence
        both_of_a_seed = [RUNS[4], measured_anew(RUNS[5], pictures=pictures), RUNS[6], anew]
        assert words in checks.largest_stable(3e-3, None, runs=both_of_a_seed).sentence
        gentler = measured_anew(own("stagnating", 3e-4, **OVERFIT), "probe", pictures)
        assert words in checks.overfitting(own("overfitting", 1e-3, **OVERFIT), gentler, "delays").sentence


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"store_version": 1, "config": {}, "sessions": []}',
                                  '{"store_version": 1, "config": {}, "sessions": [{}]}'])
def test_a_damaged_folder_of_the_store_is_told_in_a_sentence(checks, text):
    name = written(own())
    (Store().run(name).path / "config.json").write_text(text)
    assert "its folder is damaged" in checks.failure(name, own()).sentence


def test_a_name_sets_ten_seeds_of_its_own_and_a_copied_run_shows(lab):
    ada, bob = own_seed("Ada Lovelace"), own_seed("Bob")
    assert own_seed("  ada  LOVELACE ") == ada and abs(ada - bob) >= 10 and own_seed("", 5) == own_seed(None, 5) == 5
    copied = own(seed=bob)
    assert "somebody else's" in Checks(lab, ada).failure(copied, own("diverged", seed=bob, alpha=64)).sentence
    relabelled = dataclasses.replace(copied, config=copied.config.replace(seed=ada))
    assert "its record was changed" in Checks(lab, ada).failure(relabelled, relabelled).sentence
    with pytest.raises(LabError, match="neither a name nor a student number"):
        own_seed(7.5)


def test_a_result_reads_well_as_text_and_as_a_card_and_not_by_colour_alone(checks):
    passed, missing = checks.failure(own(), own("diverged", alpha=64)), checks.failure(None, None)
    assert repr(passed).startswith("passed: ") and repr(missing).startswith("not yet: ")
    assert "✔ passed" in passed._repr_html_() and "○ not yet" in missing._repr_html_()
    assert "&lt;b&gt;" in checks.best("<b>", None)._repr_html_()
