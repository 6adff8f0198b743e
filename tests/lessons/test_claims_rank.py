"""The verdicts on rank follow from the runs: other runs, other verdicts."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from rate_runs import FLAT, valley

from labkit.experiments.rank import Size
from labkit.experiments.spectrum import Spectrum
from labkit.experiments.strength import StepByRank
from labkit.lessons import claims_alpha, claims_rank
from labkit.lessons.claims import HOLDS, IF, IMAGE, OPEN, ORDER, OTHERWISE

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
ALL = (1, 4, 8, 32, 64)
NOISY = {"apart": 0.04}


def ranks(*ends, data="near", ordinary=None, best=None, apart=0.0002, **knobs):
    """Return runs of ranks 1, 4, 8, 32, 64 that end at these losses at 3e-3, or at best[rank]."""
    made = []
    for rank, end in zip(ALL, ends, strict=True):
        harm = {} if ordinary is None else {"ordinary": ordinary[rank]}
        made += valley((best or {}).get(rank, 3e-3), depth=end, rates=RATES, apart=apart, data=data, rank=rank,
                       **harm, **knobs)
    return made


LEVEL, RISING = (0.1,) * 5, (0.15, 0.14, 0.13, 0.12, 0.1)
SECOND, LAST = (0.15, 0.1, 0.1, 0.1, 0.1), (0.15, 0.15, 0.15, 0.1, 0.1)


def both(near, far, **knobs):
    return ranks(*near, **knobs), ranks(*far, data="liminal", **knobs)


def test_the_base_stays_frozen_where_it_is_measured_alike_before_every_run():
    runs = ranks(*LEVEL)

    def then(losses):
        return SimpleNamespace(validations={"validation": SimpleNamespace(losses=losses)})

    held = runs[0].validations["validation"].losses
    verdict, seen = claims_rank.frozen(runs)
    assert verdict == HOLDS and "24 pictures before each of 40 runs: 0 times otherwise" in seen
    assert claims_rank.frozen([runs[0], then(held + 1e-4)])[0] == OTHERWISE
    assert claims_rank.frozen(runs[:1])[0] == claims_rank.frozen([runs[0], then(held[:, :8])])[0] == OPEN


def cost(trained, freedom):
    return Size("", trained, freedom, 0.1, 1000, 0.1)


def test_numbers_grow_with_the_rank_and_are_not_directions():
    verdict, seen = claims_rank.small_matrices({1: cost(100, 90), 4: cost(400, 300)})
    assert verdict == HOLDS and seen == "Rank 1 trains 100 numbers, rank 4 trains 400 numbers: exactly 100 for each."
    assert claims_rank.small_matrices({1: cost(100, 90), 4: cost(200, 150)})[0] == OTHERWISE
    assert claims_rank.small_matrices({1: cost(100, 90)})[0] == OPEN
    verdict, seen = claims_rank.directions({4: cost(400, 300), 1: cost(100, 90)})
    assert verdict == OTHERWISE and "At rank 1 there are 90 degrees of freedom" in seen
    assert claims_rank.directions({1: cost(2, 1)})[0] == HOLDS


def test_matrices_that_were_trained_whole_have_no_rank():
    whole = {1: cost(400, 400), 4: cost(400, 400)}
    layers = [Spectrum("a", np.ones(8), 1.0)]
    found = claims_rank.small_matrices(whole), claims_rank.directions(whole), claims_rank.dimensions({4: layers})
    assert {verdict for verdict, _ in found} == {OPEN} and all("whole" in seen for _, seen in found)


@pytest.mark.parametrize("falls, verdict", [((0.3, 0.5), OTHERWISE), ((0.0, 0.01), HOLDS), ((0.0, 0.45), OPEN)])
def test_a_rank_is_as_many_dimensions_as_singular_values_say(falls, verdict):
    layers = [Spectrum("a", np.exp(-fall * np.arange(8)), 1.0) for fall in np.linspace(*falls, 12)]
    found, seen = claims_rank.dimensions({8: layers, 2: []})
    assert found == verdict and "At rank 8" in seen and "12 layers" in seen


@pytest.mark.parametrize("near, far, verdict", [
    (SECOND, LAST, HOLDS), (LEVEL, LAST, IF), (LEVEL, LEVEL, OTHERWISE)])
def test_higher_rank_encodes_more_where_the_smallest_surely_lacks_more_than_a_twentieth(near, far, verdict):
    found, seen = claims_rank.richer(both(near, far))
    assert found == verdict and "near: rank 1 lacks" in seen


def test_what_noise_or_the_edge_of_the_rates_hides_decides_nothing_of_rank():
    assert claims_rank.richer(both(LEVEL, RISING, **NOISY))[0] == OPEN
    assert claims_rank.richer(both(SECOND, LAST, best={1: 3e-4}))[0] == OPEN


@pytest.mark.parametrize("near, far, verdict", [
    (LEVEL, LAST, IF), (LAST, LEVEL, OTHERWISE), (SECOND, SECOND, OTHERWISE)])
def test_rank_matches_distance_if_the_far_territory_surely_needs_more(near, far, verdict):
    found, seen = claims_rank.distance(both(near, far))
    assert found == verdict and "Smallest rank that is enough, near:" in seen
    assert claims_rank.distance(both(near, far, **NOISY))[0] == OPEN


@pytest.mark.parametrize("near, far, verdict", [(SECOND, LAST, HOLDS), (LEVEL, LAST, OTHERWISE),
                                                (SECOND, SECOND, OTHERWISE)])
def test_ranks_to_begin_with_are_judged_by_the_smallest_that_is_enough(near, far, verdict):
    assert claims_rank.start_values(both(near, far))[0] == verdict
    assert claims_rank.start_values(both(near, far, **NOISY))[0] == OPEN


@pytest.mark.parametrize("far, verdict", [(LAST, HOLDS), (SECOND, OTHERWISE)])
def test_rank_8_is_a_severe_limit_only_if_it_lacks_a_tenth_of_the_gain(far, verdict):
    found, seen = claims_rank.limits(both(LEVEL, far))
    assert found == verdict and "rank 8 lacks, liminal:" in seen
    assert claims_rank.limits(both(LEVEL, far, **NOISY))[0] == OPEN


@pytest.mark.parametrize("harm, ends, verdict", [
    ((0.21, 0.25), LEVEL, HOLDS), ((0.21, 0.25), RISING, IF), ((0.25, 0.21), LEVEL, OTHERWISE),
    ((0.25, 0.25), LEVEL, OPEN)])
def test_low_rank_keeps_the_rest_aligned_only_if_ordinary_places_change_less(harm, ends, verdict):
    ordinary = dict(zip(ALL, np.linspace(*harm, len(ALL)), strict=True))
    found, seen = claims_rank.aligned(both(ends, ends, ordinary=ordinary))
    assert found == verdict and "near: on ordinary places rank 1 ends" in seen


def scaled(*bests, slope=0.06, **knobs):
    """Return runs of rank 8 at scalings a tenth and ten, the lowest at these rates."""
    return [run for alpha, best in zip((0.8, 80.0), bests, strict=True)
            for run in valley(best, rates=(1e-4, *RATES, 3e-2), slope=slope, alpha=alpha, rank=8, **knobs)]


@pytest.mark.parametrize("training, best, verdict", [
    (scaled(1e-2, 1e-3), None, OTHERWISE), (scaled(3e-3, 3e-3), {1: 1e-3, 64: 3e-3}, OTHERWISE),
    (scaled(3e-3, 3e-3), None, HOLDS), (scaled(3e-3, 3e-3, slope=FLAT, apart=0.01), None, OPEN)])
def test_rank_and_alpha_are_separate_only_if_neither_moves_the_best_rate(training, best, verdict):
    by_rank = StepByRank((1, 8), {}, {"alpha = rank": 0.9})
    found, seen = claims_rank.separate((training, ranks(*LEVEL, best=best), by_rank))
    assert found == verdict
    assert "from scaling 0.1 to 10 the best rate becomes" in seen and "+0.90 with alpha = rank" in seen


def test_the_words_for_ranks_overlap_and_leave_some_out():
    verdict, seen = claims_rank.words_for_ranks(claims_rank.WORDS)
    assert verdict == OTHERWISE
    assert seen == "8 is low and moderate; 32 is moderate and high; 64 is high and dramatic; 1, 2 have no word."
    assert claims_rank.words_for_ranks({"low": (1, 8), "high": (9, math.inf)})[0] == HOLDS


def test_every_claim_is_in_the_table_in_order_and_what_is_missing_says_what_makes_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    table = claims_rank.table(runs=ranks(*LEVEL), costs={1: cost(100, 90), 4: cost(400, 300)})
    verdicts = [row[0] for row in table.rows]
    claims = claims_rank.CLAIMS + claims_alpha.CLAIMS
    assert len(table.rows) == len(claims) + len(claims_rank.IMAGES)
    assert verdicts == sorted(verdicts, key=ORDER.index) and verdicts[-1] == IMAGE
    rows = {row[1]: row for row in table.rows}
    assert rows["The base stays frozen."][0] == HOLDS
    for words, remedy in (("richer", "recorded ranks_near"), ("separate", "recorded training_alpha")):
        [row] = [row for sentence, row in rows.items() if words in sentence]
        assert row[0] == OPEN and remedy in row[2]
    assert not any(ident in repr(table) for claim in claims for ident in claim.ids)
