"""Values and texts from outside are shown short, on one line, and without what a terminal obeys."""

import pytest

from labkit.design.fields import refuse
from labkit.errors import LabError
from labkit.text import (
    MOST,
    counted,
    duration,
    interval_text,
    loss_text,
    printable,
    rounded,
    share_text,
    shown,
    with_interval,
)


def bomb(levels=12):
    """Give a list that is small in memory and whose text has 9 to the power of `levels` words."""
    value = ["x"] * 9
    for _ in range(levels):
        value = [value] * 9
    return value


KINDS = ["bomb", "text", "400 digits", "20,000 digits", "mapping", "nested"]
LARGE = [bomb(), "x" * 10**6, 10**400, 16**20_000, {"a" * 5000: bomb()}, [[[[[[]]]]]]]


@pytest.mark.parametrize("value", LARGE, ids=KINDS)
def test_no_value_is_shown_at_length(value):
    assert len(shown(value)) < 1000
    with pytest.raises(LabError, match="rank = .* is not possible: it must be small"):
        refuse("rank", value, "small")


def test_plain_values_are_shown_whole():
    values = (8, 1e-4, None, "to_q", ["to_q", "to_k"])
    assert [shown(value) for value in values] == ["8", "0.0001", "None", "'to_q'", "['to_q', 'to_k']"]


def test_what_a_terminal_obeys_is_written_out_and_letters_of_all_scripts_stay():
    assert printable("\x1b[31mred\x07\nline\u202e\ud800") == "\\x1b[31mred\\x07\\nline\\u202e\\ud800"
    assert printable("two\nlines\r", keep="\n") == "two\nlines\\r"
    for word in ("Größe", "画像　一", "ش\u200cب", "naïve\xa0e\u0301", "👩\u200d🎨"):
        assert printable(word) == word


def test_a_labs_error_is_one_line_of_bounded_length_that_keeps_its_beginning_and_its_end():
    message = str(LabError("the file a\nb\x1b[2J " + "x" * 10**5 + " is damaged: get it again."))
    assert message.startswith("the file a\\nb\\x1b[2J") and message.endswith("get it again.")
    assert len(message) < MOST + 20


def test_counts_read_as_a_person_would_write_them():
    assert [counted(n, "update") for n in (0, 1, 2, 1200)] == ["0 updates", "1 update", "2 updates", "1,200 updates"]
    numbers = {0.0417: "0.042", 1: "1", 1.53: "1.5", 9.96: "10",
               12.4: "12", 487.0: "490", 500.0: "500", 12345.0: "12,000"}
    assert {number: rounded(number) for number in numbers} == numbers


def test_losses_and_their_differences_say_where_they_are_no_numbers():
    assert (loss_text(0.1514), with_interval((0.0214, 0.015, 0.0268))) == ("0.151", "+0.021 (+0.015 to +0.027)")
    assert {loss_text(float("inf")), loss_text(float("nan")), with_interval((float("nan"),) * 3)} == {"not finite"}


@pytest.mark.parametrize("seconds, words", [
    (0.2, "1 s"), (40, "40 s"), (89, "89 s"), (100, "2 min"), (200, "3 min"), (7500, "2 h 5 min"), (7200, "2 h"),
])
def test_durations_read_as_people_say_them(seconds, words):
    assert duration(seconds) == words


def test_quantities_and_shares_are_written_with_their_intervals():
    assert interval_text((0.0212, 0.0151, 0.027)) == "0.021 (0.015 to 0.027)"
    assert share_text((0.4, 0.31, 0.52)) == "40% (31% to 52%)"
