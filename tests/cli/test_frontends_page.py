"""The page on front ends: what it names is there, its pictures have words, and a session was measured."""

import re

from labkit.settings import REPO, VARIABLES

PAGE = (REPO / "docs/frontends.md").read_text(encoding="utf-8")
MOST_MB, MOST_BYTES = 1500, 600_000


def test_every_variable_file_and_picture_on_the_page_is_there():
    assert set(re.findall(r"LABKIT_[A-Z]+", PAGE)) <= set(VARIABLES)
    paths = re.findall(r"`((?:tests|tools|binder)/[\w./]*)`", PAGE)
    assert len(paths) >= 6 and all((REPO / path).exists() for path in paths)


def test_pictures_are_shown_with_words_for_those_who_do_not_see_them_and_are_small():
    there = {path.name for path in (REPO / "docs/pictures").iterdir()}
    shown = re.findall(r"!\[(.{40,})\]\((?:docs/)?pictures/(\S+)\)", PAGE + (REPO / "README.md").read_text("utf-8"))
    assert {name for _, name in shown} == there
    assert sum((REPO / "docs/pictures" / name).stat().st_size for name in there) < MOST_BYTES


def test_a_session_with_the_panel_fits_into_what_binder_gives():
    [part] = re.findall(r"<!-- memory -->\n(.*?)<!-- /memory -->", PAGE, re.DOTALL)
    held = [float(number.replace(",", "")) for number in re.findall(r"([\d,]+) MB", part)]
    assert len(held) == 3 and 100 < max(held) < MOST_MB
