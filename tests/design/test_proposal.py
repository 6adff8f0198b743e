"""Proposals follow from pictures, kinds, distance, base and time, and each says why and on which base."""

import re

import pytest

from labkit.design.config import load_design
from labkit.design.design_file import read_design, write_design
from labkit.design.proposal import (
    FEWEST_UPDATES,
    VIEWS,
    given_first,
    peak_rate,
    propose,
    proposed,
    reasons,
    whole_epochs,
)
from labkit.design.volume import updates
from labkit.errors import LabError


def values(*arguments, **options):
    return {proposal.field: proposal.value for proposal in propose(*arguments, **options)}


@pytest.mark.parametrize("pictures", [1, 3, 8, 48, 96, 5000])
@pytest.mark.parametrize("base", ["embedded", "stable-diffusion-v1-5/stable-diffusion-v1-5"])
def test_every_proposal_is_a_possible_run_of_that_many_pictures(pictures, base):
    config = proposed(propose(pictures, base=base), base=base).resolved(pictures)
    assert config.scaling == 1
    assert config.effective_batch_size <= pictures


def test_updates_are_whole_epochs_and_are_cut_by_the_time_there_is():
    free = values(96)["max_train_steps"]
    assert free == updates(96, 4, VIEWS["embedded"])
    short = propose(90, seconds=60, seconds_per_update=0.5)
    steps = next(proposal for proposal in short if proposal.field == "max_train_steps")
    assert steps.value == updates(90, 4, 5) == 113             # of 120 affordable ones
    assert f"{VIEWS['embedded']} times would be the aim" in steps.reason and "60 s" in steps.reason
    assert values(96, seconds=1e6, seconds_per_update=0.5)["max_train_steps"] == free
    assert values(96, seconds=5, seconds_per_update=1)["max_train_steps"] == 5
    assert FEWEST_UPDATES <= values(2)["max_train_steps"] < 2 * FEWEST_UPDATES
    assert values(10**5)["max_train_steps"] == updates(10**5, 4, 1)


def test_pictures_are_shown_as_often_as_its_source_says_on_each_base():
    for base, views in (("embedded", VIEWS["embedded"]), ("my/sd", VIEWS["stable diffusion"])):
        steps = next(proposal for proposal in propose(96, base=base) if proposal.field == "max_train_steps")
        assert steps.value == updates(96, 4, views) and whole_epochs(steps.value, 4, 96) == views
    assert VIEWS["embedded"] < VIEWS["stable diffusion"] and "500 updates" in steps.source
    assert whole_epochs(1, 4, 96) == 1


def test_what_a_design_gives_itself_goes_before_what_is_proposed(tmp_path):
    def chosen(design):
        return {proposal.field: (proposal.value, proposal.reason) for proposal in given_first(propose(24), design)}

    assert chosen(None) == {proposal.field: (proposal.value, proposal.reason) for proposal in propose(24)}
    given = chosen({"rank": 4, "num_train_epochs": 10, "base": "embedded"})
    assert given["rank"] == (4, "given") and given["num_train_epochs"] == (10, "given")
    assert not {"alpha", "max_train_steps", "base"} & given.keys() and given["learning_rate"][1] != "given"
    (tmp_path / "mine.yaml").write_text("learning_rate: 2.0e-3\n")
    assert chosen(tmp_path / "mine.yaml")["learning_rate"] == (2e-3, "given")


@pytest.mark.parametrize("schedule, peak", [
    ("constant", 3e-3), ("linear", 4e-3), ("cosine", 4e-3), ("exponential", 4e-3)])
def test_a_schedule_that_falls_may_begin_up_to_a_third_above_a_constant_rate(schedule, peak):
    config = proposed(propose(24), lr_scheduler=schedule).resolved(24)
    assert peak_rate(config, 3e-3) == peak


def test_a_near_territory_gets_less_capacity_than_a_far_one_and_many_kinds_more():
    near, far, many = values(96, near=True), values(96, near=False), values(96, near=False, kinds=5)
    assert near["rank"] < far["rank"] < many["rank"]


def test_few_pictures_of_a_kind_come_with_a_warning():
    def reason(kinds):
        return next(proposal.reason for proposal in propose(48, kinds=kinds) if proposal.field == "max_train_steps")

    assert "copying" in reason(12) and "copying" not in reason(2)


def test_the_rate_is_a_start_and_names_the_base_it_is_for():
    for base, word in (("embedded", "embedded base"), ("my/sd", "Stable Diffusion")):
        rate = next(proposal for proposal in propose(48, base=base) if proposal.field == "learning_rate")
        assert word in rate.reason and "not where it ends" in rate.reason
    assert values(48)["learning_rate"] > values(48, base="my/sd")["learning_rate"]


def test_no_number_of_others_comes_without_what_it_was_found_on():
    numbers = ("learning_rate", "rank", "max_train_steps", "alpha", "train_batch_size")
    for proposal in propose(48, kinds=5):
        assert proposal.reason and proposal.source
        if re.search(r"arXiv|diffusers|Hu et al", proposal.source) and proposal.field in numbers:
            assert re.search(r"Stable Diffusion|GPT-3|language models|embedded base", proposal.source)


def test_proposals_become_a_design_with_their_reasons(tmp_path):
    proposals = propose(48, kinds=5)
    config = proposed(proposals, data="liminal").replace(learning_rate=3e-3)
    why = reasons(proposals, learning_rate="the short test ended at 3e-3 on the embedded base")
    path = write_design(tmp_path / "design.yaml", config, why)
    assert load_design(path) == config
    assert set(read_design(path).reasons) == {proposal.field for proposal in proposals}


@pytest.mark.parametrize("bad", [
    {"pictures": 0}, {"pictures": 4, "kinds": 5}, {"pictures": 4, "seconds": 60},
    {"pictures": 4, "seconds": -1, "seconds_per_update": 1},
])
def test_what_cannot_be_is_refused_with_a_sentence(bad):
    with pytest.raises(LabError, match="give|both above 0"):
        propose(**bad)
