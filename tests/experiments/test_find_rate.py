"""A race over rates ends where a full grid would, in fewer updates, and says how sure it is."""

import dataclasses
import functools

import numpy as np
import pytest
import tiny
from made_runs import made_run

from labkit.errors import LabError
from labkit.experiments import find_rate as finding
from labkit.experiments.find_rate import LADDER, Race, find_rate, found, rung_of
from labkit.experiments.race_track import STOPPED, LabTrack
from labkit.store.events import Stopped

UPDATES = 100


def loss_after(step, rate, best):
    """Return a mean loss: a gain that follows the sum of the rate, and a rise for rates above the best."""
    spent = rate * step / (best * UPDATES)
    over = max(0.0, np.log10(rate / best))
    return 0.2 - 0.1 * (1 - np.exp(-4 * spent)) + 0.06 * over * (1 - np.exp(-8 * step / UPDATES))


@functools.cache
def made_at(rate):
    """Make a run of a rate, once for all races: its curves are those of the race."""
    return made_run(learning_rate=rate, pictures=False, max_train_steps=UPDATES, upto=0)


class MadeTrack:
    """Stand for training: runs whose curves have a valley at `best`, and count which updates were asked for."""

    def __init__(self, best, breaks=np.inf, measured=()):
        self.best, self.breaks, self.measured, self.asked = best, breaks, measured, {}

    def advance(self, rates, step):
        self.asked |= dict.fromkeys(rates, step)

    def run(self, rate, step):
        assert self.asked[rate] >= step
        whole = made_at(rate)
        level = np.random.default_rng(0).uniform(0.6, 1.4, (32, 1)).astype(np.float32)
        at = np.array([0, *(one for one in self.measured if one <= step)])
        rng = np.random.default_rng(rung_of(rate))
        losses = np.stack([level * loss_after(one, rate, self.best) + (one > 0) * 0.001 * rng.normal(size=level.shape)
                           for one in at]).astype(np.float32)
        curve = whole.validations["validation"]._replace(steps=at, losses=losses)
        timesteps = np.arange(32).reshape(32, 1) * 30
        run = dataclasses.replace(whole, validations={"validation": curve, "probe": curve}, status="running",
                                  timesteps={"validation": timesteps, "probe": timesteps}, stopped=None)
        if rate < self.breaks:
            return run
        return dataclasses.replace(run, status="diverged", stopped=Stopped(run.run_id, 3, 12, "diverged"))


def raced(best, start, **options):
    race = Race(MadeTrack(best, **options), UPDATES)
    race.track.measured = race.measured_at()
    return find_rate(race, start)


@pytest.mark.parametrize("best", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("away", [-2, 0, 1])
def test_the_rung_of_the_valley_is_found_from_starts_beside_it_for_less_than_half_of_a_grid(best, away):
    race = raced(best, LADDER[rung_of(best) + away], breaks=30 * best)
    ended = found(race)
    assert ended.rate == best and ended.is_bracketed and ended.low <= best <= ended.high
    assert race.spent < 0.55 * UPDATES * len(LADDER)
    assert race.spent == sum(racer.step for racer in race.racers.values())


def test_losing_and_broken_runs_leave_at_the_first_look_that_shows_it_and_say_why():
    race = raced(1e-3, 1e-3, breaks=1e-2)
    assert (race.racers[1e-2].left, race.racers[1e-2].step) == ("broken", 3)
    slow = [racer for racer in race.racers.values() if racer.left == "too slow"]
    assert slow and all(racer.step < UPDATES and "by its end it will be where" in racer.why for racer in slow)


def test_a_race_that_begins_where_all_is_broken_descends_until_a_rung_is_stable():
    race = raced(1e-4, 1e-1, breaks=1e-3)
    assert found(race).rate == 1e-4
    with pytest.raises(LabError, match="No rate of the ladder is stable"):
        raced(1e-4, 1e-2, breaks=0.0)


def test_what_may_be_better_at_the_end_comes_back_in():
    race = Race(MadeTrack(1e-3), UPDATES)
    race.track.measured = race.measured_at()
    calm = MadeTrack.run

    def rising(track, rate, step):                            # 1e-3 falls until the second look, and then rises
        run = calm(track, rate, step)
        if rate == 1e-3:
            curve = run.validations["validation"]
            losses = curve.losses + np.where(curve.steps > 60, 0.08, 0.0).reshape(-1, 1, 1).astype(np.float32)
            run.validations["validation"] = curve._replace(losses=losses)
        return run

    race.track.run = rising.__get__(race.track)
    told = []
    race.tell = told.append
    ended = found(find_rate(race, 1e-3))
    assert any(text.startswith("3e-4 leaves, too slow") for text in told)
    assert ended.rate in (3e-4, 3e-3) and race.racers[3e-4].step == UPDATES


@pytest.mark.parametrize("rung, side, others", [(0, "lower", "1e-6,3e-6,1e-5"), (-1, "upper", "3e-1,1e0,3e0")])
def test_a_best_rate_at_an_edge_of_the_rates_tried_is_said_with_what_to_do_next(rung, side, others):
    ended = found(raced(LADDER[rung], LADDER[rung]))
    assert ended.rate == LADDER[rung] and not ended.is_bracketed
    assert f"lies at the {side} edge of the rates tried" in ended.sentence
    assert f"learning_rate={others} --set max_train_steps=100" in ended.sentence


def test_where_no_rate_is_worse_than_another_more_pictures_or_updates_are_asked_for():
    race = Race(MadeTrack(1e-3), UPDATES, racers=dict.fromkeys(LADDER))
    assert "more held-out pictures or more --updates" in finding._edge(race, 1e-3, LADDER[0], LADDER[-1])
    assert "may lie at the upper edge" in finding._edge(race, 1e-3, 1e-3, LADDER[-1])


def test_a_run_that_was_measured_at_other_updates_waits_for_the_end():
    race = Race(MadeTrack(1e-3), UPDATES)
    race.track.measured = race.measured_at()
    as_asked = MadeTrack.run

    def found_in_the_store(track, rate, step):                # 3e-3, last measured some updates before each look
        track.measured = (4, 9, 20, 45, 75, 100) if rate == 3e-3 else race.measured_at()
        return as_asked(track, rate, step)

    race.track.run = found_in_the_store.__get__(race.track)
    find_rate(race, 1e-3)
    assert race.racers[3e-3].step == UPDATES                  # and not 25, where its loss was that of update 20
    assert found(race).rate == 1e-3


# -- in a store


@pytest.fixture
def lab():
    return tiny.lab()


def track_of(lab, updates=8, **options):
    config = lab.config({"max_train_steps": updates, "train_batch_size": 2})
    race = Race(None, updates)
    monitor = lab.monitor(pictures=0, scored=0, images=4, validate_at=race.measured_at())
    return LabTrack(lab, config, monitor, **options)


def test_a_run_that_left_and_came_back_is_the_run_that_never_left(lab):
    track = track_of(lab)
    track.advance([1e-3, 1e-2], 4)
    early = track.run(1e-3, 4)
    assert early.validations["validation"].steps[-1] == 4 and early.steps["global_step"][-1] == 4
    assert {run.checkpoints()[-1] for run in lab.store.runs()} == {4}              # not an update more
    track.advance([1e-3, 1e-2], 8)
    halting = track.run(1e-3, 8)
    other = tiny.lab(store=lab.store.root / "other")
    whole = track_of(other)
    whole.advance([1e-3, 1e-2], 8)
    straight = whole.run(1e-3, 8)
    assert halting.status == straight.status == "finished"
    assert np.array_equal(halting.validations["validation"].losses, straight.validations["validation"].losses)


def test_a_race_in_a_store_is_found_again_and_not_trained_again(lab, monkeypatch):
    monkeypatch.setattr(finding, "LADDER", LADDER[3:7])       # 8 updates cannot tell any rung of the whole one apart
    race = find_rate(Race(track_of(lab), 8), 1e-3)
    before = {run.run_id: run.events_path.read_bytes() for run in lab.store.runs()}
    again = find_rate(Race(track_of(lab), 8), 1e-3)
    assert {run.run_id: run.events_path.read_bytes() for run in lab.store.runs()} == before
    assert found(again) == found(race) and len(race.racers) == 4


def test_a_race_that_is_stopped_keeps_what_it_has_and_goes_on(lab):
    calls = iter([False, True])
    with pytest.raises(LabError, match=STOPPED):
        track_of(lab, stop=lambda: next(calls, True)).advance([1e-3], 8)
    track = track_of(lab)
    track.advance([1e-3], 8)
    assert track.run(1e-3, 8).status == "finished" and len(lab.store.runs()) == 1
