"""Prompts are drawn first and last for a score, the untouched base's once, and no training number changes by it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from six_runs import QUIET, SIX, equal_states, losses, of
from tiny import train

from labkit.datasets.folders import PictureFolder, Territory, territory
from labkit.engine import by_reader
from labkit.engine.by_reader import scored_prompts
from labkit.engine.monitor import Monitor
from labkit.engine.scores import ScoredPrompts
from labkit.errors import LabError
from labkit.store.events import Checkpoint, Score
from labkit.store.runs import Store

CONFIGS = [config.replace(max_train_steps=6) for config in SIX[:3]]


def brighter(pictures, asked):
    """Accept the pictures whose first pixel is above a number that was asked for."""
    return pictures[:, 0, 0, 0] > np.array([int(one["above"]) for one in asked])


def prompts(name="validation", n=4):
    asked = tuple({"above": str(100 + i)} for i in range(n))
    return ScoredPrompts(name, tuple(f"a place {i}" for i in range(n)), asked, brighter, "a test")


MONITOR = Monitor(images=0, scored=4, scored_prompts=lambda: (prompts(), prompts("ordinary")))


@pytest.fixture
def drawn(monkeypatch):
    """Draw grey instead: 50 with the bare base, 102 plus the run's number with adapters; note what is asked."""
    asked = []

    def generate(self, prompts, seeds, *, adapters=None, num_inference_steps=None, **settings):
        asked.append((prompts, tuple(seeds), None if adapters is None else adapters.K, num_inference_steps))
        torch.randn(3)                                        # a careless consumer of the global state
        grey = np.full((1 if adapters is None else adapters.K, len(prompts), 2, 2, 3), 50, np.uint8)
        if adapters is not None:
            grey += (52 + np.arange(adapters.K, dtype=np.uint8)).reshape(-1, 1, 1, 1, 1)
        return grey[0] if adapters is None else grey

    monkeypatch.setattr(tiny.Base, "generate", generate)
    return asked


def test_a_score_is_drawn_first_and_last_in_one_pass_and_changes_no_training_number(drawn):
    base, cache = tiny.base(), tiny.cache()
    quiet = list(train(base, cache, CONFIGS, monitor=QUIET))
    watched = list(train(base, cache, CONFIGS, monitor=MONITOR))
    assert np.array_equal(losses(quiet, 3), losses(watched, 3))
    assert all(equal_states(a, b) for a, b in zip(of(Checkpoint, quiet), of(Checkpoint, watched), strict=True))
    scores = of(Score, watched)
    assert [(event.name, event.global_step) for event in scores] == [
        (name, step) for step in (0, 6) for name in ("validation", "ordinary") for _ in CONFIGS]
    after = [event.accepted.tolist() for event in scores if event.global_step == 6 and event.name == "validation"]
    assert after == [[True] * n + [False] * (4 - n) for n in (2, 3, 4)]      # each run's own pictures
    assert not any(event.accepted.any() for event in scores if event.global_step == 0)
    assert [len(event.accepted) for event in scores[:4:3]] == [4, 2]         # half as many ordinary ones
    assert [(adapters, steps) for _, _, adapters, steps in drawn] == [(None, 8), (None, 8), (3, 8), (3, 8)]
    assert scores[0].asked == ("100", "101", "102", "103") and scores[0].scored_by == "a test"


def test_the_untouched_base_is_drawn_once_for_all_passes_and_again_when_weights_or_prompts_change(drawn):
    base, cache = tiny.base(), tiny.cache()
    list(train(base, cache, CONFIGS[:1], monitor=MONITOR))
    list(train(base, cache, CONFIGS[1:2], monitor=MONITOR))
    assert [adapters for _, _, adapters, _ in drawn] == [None, None, 1, 1, 1, 1]
    prompts().take(4).untouched(tiny.base())                  # another process, whose cache folder is the same
    assert len(drawn) == 6
    prompts().take(3).untouched(base)
    with torch.no_grad():
        next(base.unet.parameters()).add_(1)
    prompts().take(4).untouched(base)
    assert [adapters for _, _, adapters, _ in drawn[6:]] == [None, None]


def test_a_kept_score_that_is_damaged_is_drawn_again(drawn, tmp_path):
    whole = prompts().untouched(tiny.base())
    (file,) = (tmp_path / "cache" / "scores").iterdir()
    for text in ("[true]", "{", "[1, 0, 0, 0]", ""):
        file.write_text(text)
        assert np.array_equal(prompts().untouched(tiny.base()), whole)
    assert len(drawn) == 5


def test_prompts_are_drawn_again_with_other_seeds_where_there_are_fewer_than_asked_for():
    more = prompts(n=2).take(5)
    assert more.prompts == ("a place 0", "a place 1", "a place 0", "a place 1", "a place 0")
    assert len(set(more.seeds)) == 5 and more.take(3).seeds == more.seeds[:3]
    assert set(prompts("ordinary", 2).seeds).isdisjoint(more.seeds)


def test_a_run_too_short_for_its_measurements_has_no_score_unless_it_is_asked_for():
    usual = Monitor(scored_prompts=MONITOR.scored_prompts)
    assert usual.scores(6) == [] and Monitor().scores(1000) == []
    assert [len(each.prompts) for each in usual.scores(150)] == [8, 4]        # 16 would cost a fifth of its training
    assert [len(each.prompts) for each in usual.scores(1000)] == [16, 8]
    assert [len(each.prompts) for each in dataclasses.replace(usual, scored=3).scores(6)] == [3, 2]
    assert dataclasses.replace(usual, scored=0).scores(1000) == []


@pytest.mark.parametrize("scored", [-1, 1.5, True, "many"])
def test_a_number_of_prompts_that_is_none_is_refused(scored):
    with pytest.raises(LabError, match="scored = "):
        Monitor(scored=scored)


def test_an_interrupted_run_goes_on_to_the_same_score(drawn, tmp_path):
    usual = {"images": 0, "scored": 4, "scored_prompts": MONITOR.scored_prompts}
    lab = tiny.lab(store=tmp_path / "straight", monitor=usual)
    straight = lab.train(CONFIGS[0])
    lab = tiny.lab(store=tmp_path / "resumed", monitor=lab.usual)
    plan = lab.plan([CONFIGS[0]])
    halfway = iter([False, False, False] + [True] * 9)
    list(lab.sweep(plan, monitor=lab.monitor(), stop=lambda: next(halfway)))
    (stopped,) = (lab.store.run(name).load() for name in plan)
    assert stopped.status == "stopped" and stopped.scores["validation"].steps.tolist() == [0]
    resumed = lab.train(CONFIGS[0])
    for name, scores in straight.scores.items():
        assert np.array_equal(resumed.scores[name].accepted, scores.accepted)
        assert resumed.scores[name].steps.tolist() == [0, 6]
    stored = Store(tmp_path / "resumed").run(resumed.run_id).load()
    assert stored.scores["ordinary"].share(6) == straight.scores["ordinary"].share()


# -- what the reader that ships is asked

def test_held_out_prompts_are_spread_over_the_kinds_and_none_is_of_the_final_scores():
    liminal = territory("liminal")
    held_out, ordinary = scored_prompts(liminal)
    assert (held_out.name, ordinary.name) == ("validation", "ordinary")
    assert len({asked["kind"] for asked in held_out.take(8).asked}) == 8
    assert len({asked["kind"] for asked in ordinary.take(8).asked}) == 8
    assert set(held_out.prompts) == set(liminal.validation.take(128).captions)
    assert held_out.prompts[0] not in liminal.prompts


def test_a_few_kinds_are_asked_for_in_turn():
    held_out, _ = scored_prompts(territory("liminal/kind=pool,corridor"))
    kinds = [asked["kind"] for asked in held_out.take(16).asked]
    assert kinds.count("pool") == kinds.count("corridor") == 8
    assert all(kind in prompt for kind, prompt in zip(kinds, held_out.take(16).prompts, strict=True))


def test_pictures_that_the_reader_does_not_know_have_no_score_and_the_run_says_why(monkeypatch):
    own = PictureFolder(Path("own"), (Path("own/a"),), ("a pool",), ({"kind": "pool"},), ("hash",))
    mine = Territory("own", own, own, territory("liminal").ordinary, ("a pool",))
    assert [scored.name for scored in scored_prompts(mine)] == ["ordinary"]
    places, numbers = tuple(Path(f"own/{i}") for i in range(12)), tuple(map(str, range(12)))
    many = PictureFolder(Path("own"), places, ("a pool",) * 12, ({"kind": "pool"},) * 12, numbers)
    lab = tiny.lab(data=dataclasses.replace(mine, train=many, ordinary=own))
    assert lab.scored_prompts == ()
    run = lab.train(max_train_steps=2, pictures=0)
    assert run.scores == {} and run.meta["no_score"] == "no reader for these pictures"
    assert Store().run(run.run_id).load().meta["no_score"] == run.meta["no_score"]

    def no_reader():
        raise LabError("data/reader is missing")

    by_reader._reader.cache_clear()
    monkeypatch.setattr(by_reader, "load_reader", no_reader)
    assert scored_prompts(territory("liminal")) == ()
