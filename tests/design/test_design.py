"""A design file carries fields, reasons and expectations through every door, and says what is wrong with it."""

import json
from itertools import pairwise

import pytest

from labkit.design.config import RunConfig, load_design
from labkit.design.design_file import design_text, read_design, split, write_design
from labkit.errors import LabError

CONFIG = RunConfig(data="liminal/kind=pool,maze", learning_rate=1e-5, rank=16, lr_scheduler="linear",
                   lr_edits=((100, 3e-5),)).resolved(38)
REASONS = {
    "learning_rate": 'the short test said: "no better"  above; '
                     + "a long reason is wrapped over lines, and comes back as it was. " * 4,
    "rank": "far: 2 kinds, # not a comment",
    "stop": "no gain beyond noise at 5 evaluations", "strength": "chosen after training",
}
EXPECTED = {"short_test_rate": 1e-5, "scaling": 1.0, "n_train": 38, "base_loss": 0.123, "base": "0" * 64}


def test_a_written_design_reads_back_whole(tmp_path):
    design = read_design(write_design(tmp_path / "design.yaml", CONFIG, REASONS, EXPECTED))
    assert load_design(tmp_path / "design.yaml") == CONFIG == RunConfig.from_dict(design.fields)
    assert design.reasons == {name: " ".join(reason.split()) for name, reason in REASONS.items()}
    assert design.expected == EXPECTED
    assert design.fields["learning_rate"] == 1e-5             # a number, not YAML's text


def test_the_same_design_in_json_and_as_a_mapping_is_the_same_run(tmp_path):
    values = CONFIG.to_dict() | {"reasons": REASONS, "expected": EXPECTED}
    (tmp_path / "design.json").write_text(json.dumps(values))
    assert load_design(tmp_path / "design.json") == load_design(values) == CONFIG


def test_decisions_come_first_and_every_field_is_written():
    text = design_text(CONFIG, REASONS, EXPECTED)
    assert text.index("\nrank: 16") < text.index("Left at the kit's own values") < text.index("\nweight_decay:")
    assert all(f"\n{name}: " in text for name in CONFIG.to_dict())
    assert max(map(len, text.splitlines())) <= 112


def test_a_design_without_reasons_is_a_design(tmp_path):
    assert load_design(write_design(tmp_path / "design.yaml", RunConfig())) == RunConfig()


@pytest.mark.parametrize("text, message", [
    ("drop_last: true", "drop_last is not a field"),
    ("lora_alpha: 8", "did you mean alpha"),
    ("rank: 8\nrank: 16", "gives rank twice.*[Kk]eep one"),
    ("reasons:\n  rank: one\n  rank: two", "gives rank twice.*[Kk]eep one"),
    ("max_train_steps: 9\nnum_train_epochs: 9", "max_train_steps and num_train_epochs"),
    ("reasons: because", "reasons must hold"),
    ("reasons:\n  rank: 8", "reason for rank must be a text"),
    ("reasons:\n  rnk: small", "reasons: rnk is not a field.*did you mean rank"),
    ("expected:\n  loss: 8", "expected has no loss.*base_loss"),
    ("expected:\n  scaling: much", "expected scaling = 'much'.*a number"),
    ("expected:\n  base: 5", "expected base = 5"),
    ("parent: 2024-13-45", "not valid YAML"),
])
def test_a_design_with_an_unknown_or_contradictory_line_is_refused_with_a_sentence(tmp_path, text, message):
    (tmp_path / "design.yaml").write_text(text)
    with pytest.raises(LabError, match=message):
        load_design(tmp_path / "design.yaml")


NESTED = "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijklm"))
BOMB = f"a: &a [x, x, x]\n{NESTED}rank: *m"


@pytest.mark.parametrize("text, message", [
    (BOMB, r"line 2, column 8 is not valid YAML: the alias \*a stands for a value. Write the value out."),
    ("rank: " + "[" * 90_000, "nested too deeply"),
    ("rank: !!int ''", "the tag !!int is given. Leave tags out."), ("rank: !!bool maybe", "the tag !!bool"),
    ("alpha: !!float ''", "!!float"), ("data: !!timestamp x", "!!timestamp"),
    ("rank: !!python/object/apply:os.getcwd []", "Leave tags out"), ("? [a, b]\n: 1", "a name is no text"),
    ("rank: '" + "9" * 300 + "'", "rank = '9.*it must be a whole number from 1 to 4096"),
    ("rank: " + "9" * 5000,
     "design.yaml, line 1, column 7 is not valid YAML: a number of 5,000 digits. Write one of at most 300.$"),
    ("rank: 0x" + "f" * 20_000, "a number of 20,002 digits"), ("alpha: 0." + "9" * 5000, "a number of 5,002 digits"),
    ("alpha: " + "9" * 5000 + ".0", "a number of 5,002 digits"),
    ("alpha: 1" + ":59" * 2000 + ".5", "a number of 6,003 digits"),
    ("alpha: 1" + ":59" * 99 + ".5", "alpha = .* is not possible"),
    ("data: \"\\ud800\"", "half a character"), ("reasons: {rank: \"\\ud800\"}", "half a character"),
    ("data: \"\\e[31mred\"", r"data = '.x1b\[31mred' is not possible"),
    ("#" * 100_001, "more than 100 kB"), ("rank: 0x_", "not valid YAML"),
])
def test_a_design_that_no_person_would_write_is_refused_with_a_short_sentence(tmp_path, text, message):
    (tmp_path / "design.yaml").write_text(text)
    with pytest.raises(LabError, match=message) as caught:
        load_design(tmp_path / "design.yaml")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


@pytest.mark.parametrize("text, message", [
    ('{"rank": ' + "[" * 90_000, "nested too deeply"), ('{"data": "\\ud800"}', "half a character"),
    ("[" * 80 + "]" * 80, "nested too deeply"), ("[8]", "such as 'rank: 8', not list"),
    ('{"rank": ' + "9" * 5000 + "}",
     "design.json is not valid JSON: a number of 5,000 digits, where at most 300 are read."),
])
def test_json_that_no_person_would_write_is_refused_too(tmp_path, text, message):
    (tmp_path / "design.json").write_text(text)
    with pytest.raises(LabError, match=message):
        load_design(tmp_path / "design.json")


def test_numbers_written_as_people_write_them_are_read():
    assert split({"expected": {"short_test_rate": "1e-3"}}).expected == {"short_test_rate": 1e-3}


def test_nothing_is_written_that_could_not_be_read(tmp_path):
    with pytest.raises(LabError, match="no updates"):
        write_design(tmp_path / "design.yaml", CONFIG, expected={"updates": 5})
    with pytest.raises(LabError, match="did you mean rank"):
        write_design(tmp_path / "design.yaml", CONFIG, reasons={"rnk": "low"})
    assert not (tmp_path / "design.yaml").exists()
