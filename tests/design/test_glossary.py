"""The glossary: both voices, and no knob or verdict without an entry."""

import pytest

from labkit.design.glossary import glossary, glossary_table, term
from labkit.errors import LabError
from labkit.view.style import VERDICTS


def test_the_three_voices_of_a_term():
    assert term("learning_rate") == "learning rate (intensity of initiation)"
    assert term("learning_rate", "field") == "learning rate"
    assert term("learning_rate", "chapter") == "intensity of initiation"


def test_a_term_the_chapter_lacks_is_the_fields_in_every_voice():
    assert {term("validation", voice) for voice in ("both", "field", "chapter")} == {"validation loss"}


def test_the_chapters_alpha_is_the_scaling_not_lora_alpha():
    assert "alpha" in term("scaling", "chapter")
    assert term("alpha", "chapter") == "lora_alpha"


def test_every_verdict_has_an_entry():
    assert set(VERDICTS) <= set(glossary())


def test_every_entry_is_complete_and_short():
    for name, entry in glossary().items():
        assert set(entry) == {"field", "chapter", "meaning"}, name
        assert entry["field"] and entry["meaning"], name
        assert len(entry["meaning"]) < 90 and len(entry["chapter"] or "") < 50, name


def test_an_unknown_name_is_refused_with_the_file_to_mend():
    with pytest.raises(LabError, match="data/glossary.yaml"):
        term("learning_rte")
    with pytest.raises(LabError, match="voice"):
        term("rank", "loud")


def test_the_page_lists_every_entry():
    assert len(glossary_table().splitlines()) == len(glossary()) + 2
