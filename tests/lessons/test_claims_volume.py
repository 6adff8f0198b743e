"""The verdicts on section 11.3 follow from the runs: other runs, other verdicts."""

from types import SimpleNamespace

import pytest
from volume_runs import eightfold, ended, race, turned, valleys

from labkit.experiments.gradients import NoiseScale
from labkit.experiments.updates import CostByBatch
from labkit.judge.early_stopping import Time
from labkit.judge.stats import Interval
from labkit.lessons import claims_volume
from labkit.lessons.claims import HOLDS, IF, IMAGE, OPEN, ORDER, OTHERWISE

TURNED = [turned(n, at) for n, at in ((12, 100), (24, 200), (48, 200), (96, 400))]


def test_a_boundary_that_all_runs_show_holds_one_that_some_show_holds_if_and_none_decides_nothing():
    assert claims_volume.turns(TURNED)[0] == HOLDS
    verdict, seen = claims_volume.turns([turned(12, 100), turned(96, None)])
    assert verdict == IF and "12 pictures: lowest at update 100 (50 to 200), then up by +0.0" in seen
    assert "96 pictures: no rise beyond noise" in seen
    assert claims_volume.turns([turned(96, None)])[0] == OPEN
    assert claims_volume.not_always_better(TURNED)[0] == HOLDS
    assert claims_volume.not_always_better([turned(96, None)])[0] == OPEN


def test_larger_sets_need_fewer_epochs_only_where_their_epochs_fall():
    verdict, seen = claims_volume.fewer_epochs(TURNED)
    assert verdict == OPEN and "intervals overlap" in seen              # 24 pictures turn at 33.3 epochs, as 12 do
    assert claims_volume.fewer_epochs([turned(12, 400), turned(96, 200)])[0] == HOLDS
    assert claims_volume.fewer_epochs([turned(12, 50), turned(24, 800)])[0] == OTHERWISE
    assert claims_volume.fewer_epochs([turned(12, 100), turned(24, None)])[0] == OPEN


@pytest.mark.parametrize("runs, expected", [
    ([turned(12, 50), turned(96, 400)], HOLDS), ([turned(12, 50), turned(24, 800)], IF),
    ([turned(12, 400)], OTHERWISE), ([turned(12, 100)], OPEN)])
def test_5_to_50_epochs_is_judged_by_where_each_set_is_best(runs, expected):
    verdict, seen = claims_volume.five_to_fifty(runs)
    assert verdict == expected and "5, 10, 50 give" in seen


def test_the_target_volume_is_told_in_multiples_of_the_best_update():
    verdict, seen = claims_volume.target_volume([turned(12, 100), turned(96, None)])
    assert verdict == OTHERWISE and "12 pictures: 50,000 is 500 times the update of the lowest loss." in seen
    assert seen.startswith("For so few pictures") and "Sets of 96 had not turned" in seen and "not measured" in seen
    assert claims_volume.target_volume([turned(96, None)])[0] == OPEN


def judged(n, **steps):
    times = {name: Time(*at) for name, at in steps.items()}
    return SimpleNamespace(run=turned(n, 100), times=times, times_at=lambda level: times)


def test_copies_and_one_boundary_are_judged_by_times_and_their_intervals():
    never = (float("inf"), 800, float("inf"))
    apart = judged(12, validation=(100, 50, 200), copying=(800, 400, 1500))
    wide = judged(12, validation=(100, 50, 200), copying=(200, 100, 400))
    alike = judged(12, validation=(100, 90, 130), copying=(110, 100, 150))
    assert claims_volume.one_boundary([apart])[0] == OTHERWISE and claims_volume.one_boundary([alike])[0] == HOLDS
    assert claims_volume.one_boundary([alike, wide])[0] == OPEN and "overlap" in claims_volume.one_boundary([wide])[1]
    beyond = judged(12, validation=(100, 50, 200), copying=(float("inf"), 450, float("inf")))
    assert claims_volume.one_boundary([beyond])[0] == OTHERWISE           # not reached, and known to come later
    assert claims_volume.copies([apart])[0] == HOLDS
    verdict, seen = claims_volume.copies([apart, judged(96, validation=never, copying=never)])
    assert verdict == IF and "96 pictures: copying beyond chance not reached (800 or later)" in seen


def test_the_intervals_of_all_times_of_all_sets_hold_together():
    asked, single = [], judged(12, validation=(100, 50, 200), copying=(200, 100, 400))

    def times_at(level):
        asked.append(level)
        return single.times

    claims_volume.one_boundary([SimpleNamespace(run=single.run, times=single.times, times_at=times_at)] * 6)
    assert asked == [pytest.approx(1 - 0.05 / 12)] * 6


def noise(scale):
    return SimpleNamespace(noise=NoiseScale(1.0, scale, Interval(scale, scale / 2, 2 * scale)))


def test_a_large_batch_is_reliable_if_it_is_large_against_the_noise_scale():
    assert claims_volume.steadier(noise(10))[0] == HOLDS and claims_volume.steadier(noise(1000))[0] == IF
    assert "0.30 at batch 1" in claims_volume.steadier(noise(10))[1]


def test_the_largest_batch_is_best_only_if_no_smaller_one_ends_lower():
    def ends(*losses):
        return [ended(end + more, train_batch_size=batch, learning_rate=rate)
                for batch, end in zip((1, 16), losses, strict=True)
                for rate, more in ((1e-3, 0.02), (3e-3, 0), (1e-2, 0.02))]

    assert claims_volume.as_large_as_fits(ends(0.12, 0.10))[0] == HOLDS
    assert claims_volume.as_large_as_fits(ends(0.10, 0.12))[0] == OTHERWISE
    verdict, seen = claims_volume.as_large_as_fits(valleys({4: 3e-4, 16: 3e-3}))
    assert verdict == OPEN and "edge" in seen


@pytest.mark.parametrize("bests, verdict", [({1: 3e-3, 16: 3e-3}, OTHERWISE), ({1: 3e-4, 16: 1e-2}, HOLDS)])
def test_the_rate_goes_with_the_batch_as_the_best_rates_do(bests, verdict):
    assert claims_volume.rate_by_batch([valleys(bests), valleys(bests)])[0] == verdict


def test_the_rate_by_batch_is_open_where_one_reading_says_so_and_the_other_not():
    constant, linear = valleys({1: 3e-3, 16: 3e-3}), valleys({1: 3e-4, 16: 1e-2})
    assert claims_volume.rate_by_batch([constant, linear])[0] == OPEN


def test_the_linear_rule_keeps_an_updates_length_only_where_it_shrinks_with_the_batch():
    verdict, seen = claims_volume.same_update(race())
    assert verdict == OTHERWISE and "by 16 times" in seen and "With AdamW alone" in seen
    assert claims_volume.same_update(race(power=-1.0))[0] == HOLDS


def test_eight_times_the_epochs_are_needed_only_where_the_small_batch_falls_short():
    verdict, seen = claims_volume.eight_times(eightfold())
    assert verdict == OPEN and "8 times the epochs then change it by +0.02" in seen and "2 seeds" in seen
    assert claims_volume.eight_times(eightfold(small=0.12, over=0.1))[0] == HOLDS


def test_the_small_batch_suffices_only_if_the_large_one_had_its_best_rate():
    verdict, seen = claims_volume.eight_times(eightfold(small=0.09))
    assert verdict == OPEN and "best rate of batch 32 is at the edge" in seen
    three = (1e-3, 0.12), (3e-3, 0.1), (1e-2, 0.13)
    verdict, seen = claims_volume.eight_times(eightfold(small=0.09, large=three))
    assert verdict == OTHERWISE and "against batch 32, the best of 3" in seen
    better = (1e-3, 0.12), (3e-3, 0.1), (1e-2, 0.08), (3e-2, 0.12)
    assert claims_volume.eight_times(eightfold(small=0.09, large=better))[0] == HOLDS


def test_every_claim_is_in_the_table_in_order_and_what_is_missing_says_what_makes_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    cost = CostByBatch((1, 4), (10**6, 4 * 10**6), (0.1, 0.2))
    copied = judged(12, validation=(100, 50, 200), copying=(800, 400, 1500))
    table = claims_volume.table(race=race(), noise=noise(10), cost=cost, judged=[copied])
    verdicts = [row[0] for row in table.rows]
    assert len(table.rows) == len(claims_volume.CLAIMS) + len(claims_volume.IMAGES)
    assert verdicts == sorted(verdicts, key=ORDER.index) and verdicts[-1] == IMAGE
    [row] = [row for row in table.rows if "8 times" in row[1]]
    assert row[0] == OPEN and "python -m recipes.ship.recorded eightfold" in row[2]
    assert "1 MB a picture at batch 1" in repr(table)
    assert not any(ident in repr(table) for claim in claims_volume.CLAIMS for ident in claim.ids)
