"""A score goes through journal, replay, resume and thinning, and old journals have none."""

import json

import numpy as np
import pytest
from told_runs import CONFIG, ID, keep, some_events

from labkit.errors import LabError
from labkit.store import runs
from labkit.store.events import Score
from labkit.store.history import RunBuilder

PROMPTS, ASKED = ("a pool", "a maze", "a mall"), ("pool", "maze", "mall")


def score(step, accepted, name="validation", prompts=PROMPTS, scored_by="the reader"):
    return Score(ID, step, 4 * step, name, np.array(accepted), prompts, ASKED[:len(prompts)], scored_by)


def told():
    """Tell of a run with a score at its begin and at its end."""
    first, *rest, checkpoint, end = some_events()
    return [first, score(0, [False, False, True]), score(0, [True], "ordinary", PROMPTS[:1]), *rest,
            score(4, [True, False, True]), score(4, [False], "ordinary", PROMPTS[:1]), checkpoint, end]


def test_a_score_reads_back_as_it_was_told_and_the_builder_gives_the_same():
    builder = RunBuilder(ID, CONFIG)
    for event in told():
        builder.add(event)
    keep(runs.Store(), told())
    for run in (builder.build(), runs.Store().run(ID).load()):
        held_out, ordinary = run.scores["validation"], run.scores["ordinary"]
        assert held_out.steps.tolist() == [0, 4] and held_out.accepted.dtype == bool
        assert held_out.accepted.tolist() == [[False, False, True], [True, False, True]]
        assert (held_out.prompts, held_out.asked, held_out.scored_by) == (PROMPTS, ASKED, "the reader")
        assert held_out.share(0) == 1 / 3 and held_out.share() == 2 / 3 and np.isnan(held_out.share(2))
        assert held_out.at(2) is None and ordinary.share() == 0


def test_a_journal_without_scores_loads_as_before():
    keep(runs.Store(), some_events())
    assert runs.Store().run(ID).load().scores == {}


def test_resuming_drops_the_score_behind_the_checkpoint_and_keeps_the_one_before():
    store = runs.Store()
    keep(store, [*told()[:-1]])
    builder = store.begin(ID, CONFIG)
    assert builder.build().scores["validation"].steps.tolist() == [0, 4]
    builder.cut(2)
    assert builder.build().scores["validation"].steps.tolist() == [0]
    keep(store, [*some_events(first=2), ], resume_at=2)
    assert store.run(ID).load().scores["validation"].steps.tolist() == [0]


@pytest.mark.parametrize("other", [{"prompts": PROMPTS[:2]}, {"scored_by": "another reader"}])
def test_scores_of_other_prompts_or_by_others_are_not_compared(other):
    builder = RunBuilder(ID, CONFIG)
    builder.add(score(0, [True, True, True]))
    builder.add(score(4, [True] * len(other.get("prompts", PROMPTS)), **other))
    assert builder.build().scores["validation"].steps.tolist() == [4]


@pytest.mark.parametrize("fault", [
    {"accepted": [1, 0, 1]}, {"accepted": [True]}, {"accepted": "all"}, {"prompts": ["a pool"]}, {"asked": [1, 2, 3]},
    {"accepted": [], "prompts": [], "asked": []}, {"scored_by": None}, {"name": 3},
])
def test_a_line_that_is_no_score_is_named(fault):
    keep(runs.Store(), told())
    path = runs.Store().run(ID).events_path
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["crc32"]
    assert lines[1]["event"] == "Score"
    lines[1] |= fault
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(LabError, match="Line 2 of .* is damaged"):
        runs.Store().run(ID).load()
