"""What a sampler draws from: ranges of numbers and lists of choices, as texts of a command line."""

import pytest

from labkit.design.config import RunConfig
from labkit.design.search_space import Range, corners, drawn, is_range, search_space
from labkit.errors import LabError


def test_ranges_and_lists_are_drawn_from_and_the_rest_is_fixed():
    fixed, space = search_space({"rank": "4..64", "learning_rate": "1e-5..1e-2", "lr_scheduler": "constant, cosine",
                                 "caption_dropout": "0..0.3", "alpha": "8", "target_modules": "to_q,to_k"})
    assert fixed == {"alpha": "8", "target_modules": "to_q,to_k"}
    assert space == {"caption_dropout": Range(0.0, 0.3, False, False), "learning_rate": Range(1e-5, 1e-2, False, True),
                     "lr_scheduler": ("constant", "cosine"), "rank": Range(4, 64, True, True)}
    assert list(space) == sorted(space)                       # so that the order of --set changes no draw


def test_two_dots_of_a_path_are_no_range():
    assert not is_range("data", "../pictures") and not is_range("init_lora_weights", "a/../b.safetensors")
    assert search_space({"data": "../a,b"}) == ({"data": "../a,b"}, {})


def test_a_drawn_number_has_three_digits_and_stays_within_its_range():
    _, space = search_space({"learning_rate": "1.2345e-5..9.8765e-3", "rank": "4..64", "snr_gamma": "none,5"})
    assert drawn(space, "learning_rate", 3.14159e-4) == 3.14e-4
    assert drawn(space, "learning_rate", 1.2346e-5) == 1.2345e-5
    assert drawn(space, "learning_rate", 9.8764e-3) == 9.8765e-3
    assert drawn(space, "rank", 17) == 17 and drawn(space, "snr_gamma", "none") is None


def test_every_end_and_choice_is_tried_on_a_configuration_once():
    _, space = search_space({"rank": "4,8,16", "learning_rate": "1e-5..1e-2"})
    tried = [RunConfig().replace(**values) for values in corners(space)]
    assert [(config.learning_rate, config.rank) for config in tried] == [(1e-5, 4), (1e-2, 8), (1e-2, 16)]


@pytest.mark.parametrize("name, text, says", [
    ("lr_scheduler", "constant..cosine", "lr_scheduler has no range, since it is a name"),
    ("use_rslora", "0..1", "use_rslora has no range"),
    ("learning_rate", "1e-2..1e-5", "must begin with the lower of two"),
    ("learning_rate", "1e-3..1e-3", "must begin with the lower of two"),
    ("learning_rate", "1e-5..1e-4,1e-3", "not both"),
    ("learning_rate", "1e-5..1e-4..1e-3", "give a range as LOW..HIGH"),
    ("learning_rate", "1e-5..", "a value beside a comma or two dots is missing"),
    ("learning_rate", "1e-5..fast", "learning_rate = 'fast' is not possible"),
    ("learning_rate", "1e-5..5000", "learning_rate = '5000' is not possible"),
    ("alpha", "none..4", "must begin with the lower of two"),
    ("weight_decay", "0..0.1", "begin above 0, such as at 0.0001"),
    ("rank", "4,,8", "a value beside a comma or two dots is missing"),
    ("rank", "4,8.5", "rank = '8.5' is not possible"),
    ("lr", "1e-5..1e-2", "did you mean learning_rate?"),
])
def test_what_is_no_range_and_no_list_is_told_in_a_sentence(name, text, says):
    with pytest.raises(LabError, match=".") as raised:
        search_space({name: text})
    assert says in str(raised.value) and "\n" not in str(raised.value)
