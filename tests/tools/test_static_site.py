"""The pages to read without installing: whole in themselves, linked, with words for every picture."""

import re
from html.parser import HTMLParser

import pytest
from static_site import MOST_BYTES, TRAINING, pages, write_site

from labkit.cli.parser import parse
from labkit.cli.tools import load
from labkit.errors import LabError
from labkit.lessons import notebooks


class Parts(HTMLParser):
    """Collect the pictures, links and scripts of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        """Keep a tag with its attributes."""
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def site():
    """Return {file name: text} of the site made from the lessons as they are."""
    return {name: data.decode() for name, data in pages().items()}


def parts(page, tag):
    parser = Parts()
    parser.feed(page)
    return [attrs for name, attrs in parser.found if name == tag]


def test_every_lesson_has_a_page_and_all_are_small_enough_to_fetch(site):
    assert {f"{path.stem}.html" for path in notebooks.lessons()} | {"index.html", "glossary.html"} <= set(site)
    assert sum(len(page.encode()) for page in site.values()) < MOST_BYTES


def test_a_page_asks_the_network_for_nothing(site):
    for page in site.values():
        sources = [attrs["src"] for tag in ("img", "script", "iframe") for attrs in parts(page, tag) if "src" in attrs]
        assert all(source.startswith("data:") for source in sources)
        assert not parts(page, "link") and "@import" not in page


def test_links_between_pages_lead_somewhere(site):
    for name, page in site.items():
        targets = [attrs["href"] for attrs in parts(page, "a") if not re.match(r"https?:|#", attrs.get("href", "#"))]
        assert targets and set(targets) <= set(site), name


def test_every_picture_has_words_for_those_who_do_not_see_it(site):
    for name, page in site.items():
        for attrs in parts(page, "img"):
            assert len(attrs.get("alt") or "") > 10 and not attrs["alt"].startswith("<"), name


def test_solutions_and_code_are_folded_and_set_up_cells_left_out(site):
    page = site["01_learning_rate.html"]
    assert "<summary>Solution</summary>" in page and "<details open" not in page
    assert "google.colab" not in page


def test_a_folder_with_other_files_is_left_alone_and_an_earlier_site_written_over(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("mine")
    with pytest.raises(LabError, match=r"holds other files, such as thesis\.txt"):
        write_site(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="is a file"):
        write_site(tmp_path / "file")
    assert write_site(tmp_path / "site") == write_site(tmp_path / "site")


def test_a_page_that_trains_is_linked_where_it_was_built_and_a_build_without_takes_it_away(site, tmp_path):
    assert not any('href="train.html"' in page for page in site.values())
    built = {name: data.decode() for name, data in pages("<h1>Train in this page</h1>").items()}
    assert set(built) - set(site) == {"train.html"}
    assert all('href="train.html"' in page for page in built.values())
    (tmp_path / "site").mkdir()
    for name in TRAINING:
        (tmp_path / "site" / name).write_text("of an earlier build")
    assert set(write_site(tmp_path / "site")) == set(site) == {path.name for path in (tmp_path / "site").iterdir()}


def test_a_page_that_trains_is_part_of_a_site(tmp_path):
    with pytest.raises(LabError, match="give --site with it"):
        load("publish").verb(parse(["publish", "--trainable"]))
