"""JSON from outside is read to a bounded size and depth, and only as what is expected."""

import json
import os

import pytest

from labkit.files import json_text


@pytest.mark.parametrize("data, kind, message", [
    ("[" * 100_000, list, "nested too deeply"), ("[" * 100 + "]" * 100, list, "nested too deeply"),
    ('{"a":' * 80 + "1" + "}" * 80, dict, "nested too deeply"),
    ("[1]", dict, "an object in braces is needed, not list"), ("null", dict, "not NoneType"),
    ("{", dict, "Expecting"), (b"\xff{}", dict, "utf-8"),
    ('{"a": "\\ud800"}', dict, "half a character"), ('{"\\ud800": 1}', dict, "half a character"),
    ("9" * 5000, int, "^a number of 5,000 digits, where at most 300 are read$"),
    (b" " * (json_text.MOST_BYTES + 1), dict, "more than 20 MB"),
])
def test_what_is_no_such_json_is_a_value_error_of_a_few_words(data, kind, message):
    with pytest.raises(ValueError, match=message):
        json_text.parse(data, kind)


@pytest.mark.parametrize("value", [
    {}, {"a": [1, {"b": None}], "é": "\U0001f600"}, {str(i): [i] for i in range(500)}, {"a": -int("9" * 299)},
])
def test_what_is_json_is_read_as_pythons_own_reader_does(value):
    in_bytes = json.dumps(value, ensure_ascii=False).encode("utf-8-sig")
    assert json_text.parse(json.dumps(value)) == json_text.parse(in_bytes) == value


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match="not a file but a folder, pipe or device"):
        json_text.read(tmp_path / "config.json")
