"""The practitioner's page, without running it: its commands are the kit's, in order, and its links lead somewhere.

tests/slow/test_practitioner.py runs it.
"""

import re

from pages import blocks, commands, page

from labkit.cli import parser
from labkit.settings import REPO

TEXT = page("practitioner.md")


def test_what_is_not_executed_goes_the_same_way_and_parses_too():
    told = {language: [words for kind, source in blocks(TEXT) if kind == language for words in commands(source)]
            for language in ("", "text")}
    way = ["inspect", "find", "train", "judge", "export"]
    assert [words[0] for words in told[""]] == [words[0] for words in told["text"]] == way
    assert all(parser.parse(words).verb == words[0] for each in told.values() for words in each)
    assert "Not executed in the tests" in TEXT[:TEXT.index("```text")].splitlines()[-2]


def test_the_drawing_at_its_end_is_plain_diffusers_in_ten_lines():
    last = [source for language, source in blocks(TEXT) if language == "python"][-1]
    assert "labkit" not in last and len(last.strip().splitlines()) <= 10
    assert "from_pretrained" in last and "load_lora_weights" in last


def test_it_leads_to_the_pages_that_say_more_and_the_first_page_leads_to_it():
    links = set(re.findall(r"\]\((\w+\.md)\)", TEXT))
    assert links >= {"folders.md", "find.md", "judge.md", "adapters.md", "translate.md", "logs.md"}
    assert all((REPO / "docs" / link).is_file() for link in links)
    assert "(docs/practitioner.md)" in (REPO / "README.md").read_text(encoding="utf-8")
