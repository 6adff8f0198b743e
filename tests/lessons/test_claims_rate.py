"""The verdicts on the learning rate follow from the runs: other runs, other verdicts."""

import math
from types import SimpleNamespace

import grid_runs
import pytest
from made_runs import made_run
from rate_runs import FLAT, RATES, at_rates, valley

from labkit.errors import LabError
from labkit.experiments.gradients import GradientByBatch, NoiseScale, RandomDirections
from labkit.experiments.updates import Lost, Width
from labkit.judge.stats import Interval
from labkit.lessons import claims_rate, claims_schedule
from labkit.lessons.claims import HOLDS, IF, IMAGE, OPEN, ORDER, OTHERWISE
from labkit.store import recorded
from labkit.view.evidence import Note

# Lower at 3e-4 than beside it, and far lower at 1e-2, where a search from 1e-4 does not come.
TWO_VALLEYS = at_rates(dict(zip(RATES, (0.15, 0.14, 0.12, 0.15, 0.14, 0.05, 0.13), strict=True)))


def made(kinds, seeds=(0, 1)):
    """Return runs of a kind at each rate: {rate: kind, or one kind for each seed}."""
    return [made_run(kind if isinstance(kind, str) else kind[seed], learning_rate=rate, seed=seed, pictures=False)
            for rate, kind in kinds.items() for seed in seeds]


def test_there_is_a_region_of_good_rates_only_where_both_ends_are_worse():
    verdict, seen = claims_rate.region(valley(1e-3))
    assert verdict == HOLDS and "Lowest at 1e-3" in seen and "3e-2 ends +0.0" in seen and "2 seeds" in seen
    level = dict.fromkeys(RATES, 0.1) | {1e-3: 0.0999}
    assert claims_rate.region(at_rates(level))[0] == OTHERWISE
    verdict, seen = claims_rate.region(valley(3e-2))
    assert verdict == OPEN and "edge" in seen
    assert claims_rate.region(at_rates(level | {3e-5: 0.108, 3e-2: 0.108}, apart=0.02))[0] == OPEN


def test_a_rate_that_breaks_is_told_as_broken():
    verdict, seen = claims_rate.region(valley(1e-3) + at_rates({1e-1: 5.0}))
    assert verdict == HOLDS and "1e-1 breaks (5.000)" in seen


@pytest.mark.parametrize("fastest, verdict", [
    ({1e-1: "diverged"}, HOLDS), ({1e-1: ("diverged", "overshooting")}, IF), ({1e-1: "overshooting"}, OTHERWISE),
    ({3e-3: "overshooting"}, OPEN)])
def test_an_extremely_high_rate_is_judged_by_all_seeds_at_ten_times_the_best_or_more(fastest, verdict):
    found, seen = claims_rate.never_settles(made({1e-4: "stagnating", 1e-3: "healthy"} | fastest))
    assert found == verdict and "times the best rate" in seen


@pytest.mark.parametrize("kinds, verdict", [
    (("stagnating", "healthy", "diverged"), HOLDS), (("overshooting", "healthy", "stagnating"), OTHERWISE),
    (("healthy", "healthy", "diverged"), OPEN)])
def test_too_low_and_too_high_are_read_from_the_verdicts_of_the_race(kinds, verdict):
    found, seen = claims_rate.between(made(dict(zip((1e-5, 1e-3, 1e-1), kinds, strict=True)), seeds=(0,)))
    assert found == verdict and f"1e-3 {kinds[1]}" in seen


def test_a_short_test_finds_the_rate_by_itself_if_or_not_at_all():
    def steps(of):
        """Return a valley whose single steps have the loss of(rate, seed)."""
        ends = {rate: 0.05 + 0.06 * abs(math.log10(rate / 1e-3)) for rate in RATES}
        return [run for rate, end in ends.items() for seed in (0, 1)
                for run in at_rates({rate: end}, seeds=(seed,), single=of(rate, seed))]

    clear = steps(lambda rate, seed: 0.1 + 0.01 * abs(math.log10(rate / 1e-3)))
    verdict, seen = claims_rate.short_test_finds(clear)
    assert verdict == HOLDS and "lead to 1e-3, as good as the best" in seen and "100% of the choices" in seen
    verdict, seen = claims_rate.short_test_finds(steps(lambda rate, seed: 0.1 + 0.05 * seed - 0.1 * rate))
    assert verdict == IF and "holds if it is read on fixed noise" in seen
    verdict, seen = claims_rate.short_test_finds(TWO_VALLEYS)
    assert verdict == OTHERWISE and "lead to 3e-4, worse than 1e-2" in seen


def test_published_rates_are_the_end_the_beginning_or_a_wrong_beginning_of_a_search():
    verdict, seen = claims_rate.published(valley(1e-4))
    assert verdict == HOLDS and "At 1e-4, the commonest default" in seen
    verdict, seen = claims_rate.published(valley(3e-3))
    assert verdict == IF and "at 3e-3, the best is 3e-3" in seen
    assert claims_rate.published(TWO_VALLEYS)[0] == OTHERWISE
    assert claims_rate.published(valley(3e-4, slope=0.02, depth=0.1))[0] == IF
    with pytest.raises(LabError, match="No run at 1e-4"):
        claims_rate.published(valley(3e-3, rates=(1e-3, 3e-3, 1e-2)))


@pytest.mark.parametrize("gain, verdict", [
    (lambda rate, rank, batch: 0.1 + 0.04 * rate, HOLDS), (lambda rate, rank, batch: 0.1 + 0.08 * batch, OTHERWISE),
    (lambda rate, rank, batch: 0.1, OPEN)])
def test_the_rate_is_the_most_critical_only_if_it_explains_most_beyond_chance(gain, verdict):
    found, seen = claims_rate.most_critical(grid_runs.runs(gain, noise=0.01))
    assert found == verdict and "From 3e-4 to 3e-3 it alone explains" in seen


LOWER, HIGHER, SAME = ({"one": valley(one), "other": valley(other)} for one, other in
                       ((3e-3, 3e-4), (3e-4, 3e-3), (1e-3, 1e-3)))
UNSURE = {name: valley(1e-3, slope=FLAT, apart=0.01) for name in ("one", "other")}


@pytest.mark.parametrize("judge, verdicts", [
    (claims_rate.concepts, (HOLDS, OTHERWISE, OTHERWISE, OPEN)), (claims_rate.pixels, (IF, IF, OTHERWISE, OPEN)),
    (claims_rate.magnitude, (IF, IF, HOLDS, OPEN))])
def test_what_moves_the_best_rate_is_judged_by_where_rates_as_good_lie(judge, verdicts):
    assert tuple(judge(arms)[0] for arms in (LOWER, HIGHER, SAME, UNSURE)) == verdicts
    assert "From one to other the best rate becomes 0.1 times what it was (0.1 to 0.1 within noise)" in judge(LOWER)[1]


def test_sixteen_bits_want_lower_rates_only_if_the_best_rate_falls_and_rounding_does_not_swallow_low_ones():
    def lost(*shares):
        return Lost((1e-4, 1e-3), {"A": shares, "B": shares})

    assert claims_rate.sixteen_bits((LOWER, lost(0.1, 0.6)))[0] == HOLDS
    assert claims_rate.sixteen_bits((HIGHER, lost(0.1, 0.6)))[0] == OTHERWISE
    verdict, seen = claims_rate.sixteen_bits((UNSURE, lost(0.6, 0.1)))
    assert verdict == OTHERWISE and "at 1e-4 would leave 60% of the numbers of A" in seen
    assert claims_rate.sixteen_bits((UNSURE, lost(0.1, 0.6)))[0] == OPEN


@pytest.mark.parametrize("change, start, verdict", [(0.0, 0.2, OTHERWISE), (0.0, 1.1, HOLDS), (0.3, 0.2, OPEN)])
def test_the_start_is_random_only_where_the_base_knows_nothing(change, start, verdict):
    race = [SimpleNamespace(validations={"validation": SimpleNamespace(means=[start, 0.1])})]
    found, seen = claims_rate.random_start(({"largest_change": change}, race))
    assert found == verdict and f"is {start:.3f}" in seen


@pytest.mark.parametrize("shares, count, verdict", [
    ((0.25, 0.3, 0.2), 32, OTHERWISE), ((1.0, 1.0, 1.0), 64, HOLDS), ((1.0, 0.9, 0.2), 64, IF),
    ((0.8,) * 3, 32, OPEN)])
def test_almost_any_change_helps_only_where_nearly_all_random_ones_do(shares, count, verdict):
    found, seen = claims_rate.almost_any(RandomDirections(
        (0.1, 1.0, 10.0), shares, ((0.0, 1.0),) * 3, (-0.005, -0.02, -0.1), (1e-5, 2e-4, 3e-3), count))
    assert found == verdict and "they change it by +0.0002 in the median, the real one by -0.02" in seen


@pytest.mark.parametrize("ends, verdict", [((0.3, 0.7), OTHERWISE), ((-0.7, -0.3), HOLDS), ((-0.1, 0.2), OPEN)])
def test_a_change_is_diluted_only_if_wide_layers_move_less(ends, verdict):
    lora = Width((), (), (), 0.0, (-0.1, 0.1))
    found, seen = claims_rate.dilution((Width((), (), (), sum(ends) / 2, ends), lora))
    assert found == verdict and "with LoRA" in seen


@pytest.mark.parametrize("high, verdict", [(12.0, OTHERWISE), (math.inf, OPEN)])
def test_gradients_shrink_with_the_batch_as_noise_does_where_a_signal_is_sure(high, verdict):
    noise = NoiseScale(0.1, 0.9, Interval(9.0, 7.0, high))
    found, seen = claims_rate.mean_gradients(
        GradientByBatch((1, 32), (1.0, 0.46), (1.0, 0.13), (0.3, 0.3), ((0.2, 0.4),) * 2, noise))
    assert found == verdict and "falls to 0.46 of itself" in seen and "by construction" in seen
    assert ("10% is signal" in seen) == (verdict == OTHERWISE)


def test_every_claim_is_in_the_table_in_order_and_what_is_missing_says_what_makes_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    race = made({1e-5: "stagnating", 1e-3: "healthy", 1e-1: "diverged"}, seeds=(0,))
    table = claims_rate.table(race=race, kinds=Note(recorded.missing("kinds_1")), stored=LOWER, rounded=Note("None."))
    verdicts = [row[0] for row in table.rows]
    claims = claims_rate.CLAIMS + claims_schedule.CLAIMS
    assert len(table.rows) == len(claims) + len(claims_rate.IMAGES)
    assert verdicts == sorted(verdicts, key=ORDER.index) and verdicts[-1] == IMAGE
    rows = {row[1]: row for row in table.rows}
    for words, remedy in (("region", "recorded u_curve"), ("concepts", "recorded kinds_1"), ("16 bits", "None."),
                          ("Double the batch", "recorded batch_equal_epochs"), ("most critical", "recorded knobs")):
        [row] = [row for sentence, row in rows.items() if words in sentence]
        assert row[0] == OPEN and remedy in row[2]
    assert rows["Too low a rate stagnates, too high a rate is chaos."][0] == HOLDS
    assert not any(ident in repr(table) for claim in claims for ident in claim.ids)
