"""The verdicts on Alpha follow from what was measured: other numbers, other verdicts."""

import numpy as np
import pytest
from made_frontier import made
from rate_runs import valley

from labkit.experiments.strength import STRENGTHS, Mixing, Scores
from labkit.lessons import claims_alpha
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def mixed(shares=(0.1, 0.2), layer_error=1e-5, model_error=(0.4, 0.0, 0.7)):
    return Mixing(("a",) * len(shares), shares, (0.5, 1.0, 2.0), layer_error, model_error)


def test_the_formula_holds_for_layers_or_the_model_or_none():
    verdict, seen = claims_alpha.form(mixed())
    assert verdict == IF and "the whole model by 70%" in seen and "each layer" in seen
    assert claims_alpha.form(mixed(model_error=(0.01, 0.0, 0.02)))[0] == HOLDS
    assert claims_alpha.form(mixed(layer_error=0.1))[0] == OTHERWISE


@pytest.mark.parametrize("shares, verdict", [
    ((0.1, 0.2, 0.15), OTHERWISE), ((0.9, 1.1, 1.0), HOLDS), ((0.05, 1.0, 4.0), OPEN), ((5.0, 8.0, 6.0), OTHERWISE)])
def test_an_average_has_equal_shares(shares, verdict):
    found, seen = claims_alpha.average(mixed(shares * 4))
    assert found == verdict and "12 layers" in seen
    assert claims_alpha.average(mixed((0.0, *shares * 4)))[0] != HOLDS       # a layer that nothing changed


def scores(gain=lambda s: 2 * s - s * s, harm=lambda s: s * s, strengths=STRENGTHS, noise=0.003, off=0.0):
    """Return scores of 32 pictures: the territory's loss falls by 0.02 gain, ordinary ones' rises by 0.02 harm."""
    rng = np.random.default_rng(0)
    base = {name: rng.uniform(0.1, 0.2, 32) for name in claims_alpha.SETS}
    sizes = {name: 0.02 + noise * rng.normal(size=32) for name in claims_alpha.SETS}
    losses = {name: np.stack([base[name] + sign * of(s) * sizes[name] + off for s in strengths])
              for name, sign, of in (("territory", -1, gain), ("ordinary", 1, harm))}
    return Scores(tuple(strengths), base, losses)


def test_the_dial_goes_from_the_base_to_the_new_at_the_cost_of_the_known():
    verdict, seen = claims_alpha.dial(scores())
    assert verdict == HOLDS and "at 1 the territory's changes by -0.021" in seen
    assert claims_alpha.dial(scores(harm=lambda s: s * s - 0.2 * s))[0] == IF     # a little better before it is worse
    assert claims_alpha.dial(scores(off=0.01))[0] == OTHERWISE
    assert claims_alpha.dial(scores(gain=lambda s: -s))[0] == OTHERWISE
    assert claims_alpha.dial(scores(noise=0.3))[0] == OPEN


def test_the_new_dominates_at_a_large_alpha_only_if_it_goes_on_gaining():
    verdict, seen = claims_alpha.dominates(scores())
    assert verdict == OTHERWISE and "lowest at strength 1" in seen and "at 4 it is +0.1" in seen
    assert claims_alpha.dominates(scores(gain=lambda s: s))[0] == HOLDS
    assert claims_alpha.dominates(scores(gain=lambda s: min(s, 3 - 0.5 * s), noise=0.1))[0] == OPEN
    assert claims_alpha.dominates(scores(strengths=(0.0, 1.0)))[0] == OPEN


def trained(low=0.1, plain=0.1, apart=0.0005):
    """Return runs at a training scaling of a tenth, and of 1, that end at these losses at their best rates."""
    return [valley(best, depth=end, rates=RATES, alpha=alpha, rank=8, apart=apart)
            for end, alpha, best in ((low, 0.8, 1e-2), (plain, 8.0, 3e-3))]


def test_a_low_alpha_whispers_after_training_while_in_training_the_rate_makes_up_for_it():
    verdict, seen = claims_alpha.whispers((*trained(), scores()))
    assert verdict == IF and "It holds if it is set after training" in seen
    assert "At strength 0.1 after training there is 19%" in seen
    assert "at scaling 0.1 and its own best rate, 1e-2" in seen
    assert claims_alpha.whispers((*trained(low=0.19), scores()))[0] == HOLDS
    assert claims_alpha.whispers((*trained(), scores(gain=lambda s: s**0.3)))[0] == OTHERWISE
    assert claims_alpha.whispers((*trained(low=0.17, apart=0.05), scores()))[0] == OPEN
    verdict, seen = claims_alpha.whispers((*trained(), scores(strengths=(0.0, 0.5, 1.0))))
    assert verdict == OPEN and "No strength of 0.1 or less" in seen


INSIDE = scores(harm=lambda s: s**1.2, gain=lambda s: s**0.4, noise=0.0005)
OUTSIDE = scores(harm=lambda s: s**6, gain=lambda s: 2 * s - s * s, noise=0.0005)
MANY = {"strengths": (0.0, 0.25, 0.5, 1.0), "n": 400, "affordable": 0.1}
PICTURES_OUTSIDE = made((0, 0.3, 0.6, 1), (1, 1, 1, 0.97), **MANY)
PICTURES_INSIDE = made((0, 0.3, 0.9, 1), (1, 1, 0.97, 0.5), **MANY)
PICTURES_UNSURE = made((0, 0.3, 0.8, 0.9), (1, 1, 1, 1), strengths=(0.0, 0.25, 0.5, 1.0), n=10)


@pytest.mark.parametrize("frontier, measured, verdict", [
    (PICTURES_INSIDE, INSIDE, HOLDS), (PICTURES_OUTSIDE, OUTSIDE, OTHERWISE), (PICTURES_INSIDE, OUTSIDE, OPEN),
    (PICTURES_UNSURE, INSIDE, HOLDS), (PICTURES_UNSURE, OUTSIDE, OTHERWISE),
    (PICTURES_UNSURE, scores(strengths=(0.0, 1.0)), OPEN), (PICTURES_UNSURE, scores(gain=lambda s: 0.0), OPEN)])
def test_the_range_for_both_is_judged_by_pictures_and_losses_that_do_not_contradict_each_other(
        frontier, measured, verdict):
    found, seen = claims_alpha.balance((frontier, measured))
    assert found == verdict and f"Pictures choose strength {frontier.strengths[frontier.chosen]:g}" in seen


def test_a_frontier_without_a_strength_in_the_range_says_so():
    frontier = made((0, 1, 1), (1, 1, 0.5), strengths=(0.0, 0.75, 1.0))
    verdict, seen = claims_alpha.balance((frontier, scores(strengths=(0.0, 1.0))))
    assert verdict == OPEN and "none inside the range was tried" in seen


def test_the_ranges_for_alpha_leave_something_out_unless_they_meet():
    verdict, seen = claims_alpha.gaps(claims_alpha.BANDS)
    assert verdict == OTHERWISE and seen == "Nothing is said from 0.1 to 0.2 and from 0.5 to 1."
    assert claims_alpha.gaps({"low": (0, 0.5), "high": (0.5, 9)})[0] == HOLDS
