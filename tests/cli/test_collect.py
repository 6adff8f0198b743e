"""A class of thirty, none of whom trained anything: what they handed in is read, and nothing of it is executed."""

import csv
import io
import json
import os
import pickle
import stat
import zipfile

import pytest
from command_line import labkit
from handed_in import answered, hand_in

from labkit.cli import collect, parser, submission
from labkit.lessons import notebooks

MARKED, FORMULA = "<script>alert(1)</script> / ../Ada", "=HYPERLINK(\"http://x\")"


@pytest.fixture(scope="module")
def thirty(tmp_path_factory):
    """Give a folder with thirty submissions: two are broken, one has something to execute, names are what they are."""
    folder = tmp_path_factory.mktemp("class")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)       # thirty stores on one slow disk
        for number in range(25):
            hand_in(folder, f"Student {number:02}", rates=(3e-4, 1e-2)[: 1 + number % 2], passed=number % 4,
                    lessons=slice(0, 1 + (number == 3)))
        hand_in(folder, MARKED, rates=(1e-3,), lessons=slice(0, 1))
        hand_in(folder, FORMULA, rates=(1e-3,), lessons=slice(0, 1))
        whole = hand_in(folder, "Cut", rates=(1e-3,), lessons=slice(0, 1))
    whole.write_bytes(whole.read_bytes()[:-400])
    (folder / "Broken.zip").write_bytes(b"no zip file at all")
    with zipfile.ZipFile(folder / "Student_00.zip") as opened, zipfile.ZipFile(folder / "Mallory.zip", "w") as made:
        for member in opened.infolist():
            made.writestr(member, opened.read(member))
        made.writestr("runs/0123456789abcdef/model.pkl", pickle.dumps(Trap(str(folder / "executed"))))
    return folder


class Trap:
    """Something that writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def collected(thirty, tmp_path_factory):
    """Collect them once; give exit code, stdout, stderr and the folder of the results."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_CACHE", str(out / "cache"))
        outcome = collect.verb(parser.parse(["collect", str(thirty), "--to", str(out)]))
    return outcome, out


def test_thirty_are_collected_but_for_the_three_that_cannot_be_and_each_of_these_is_told(thirty, collected):
    outcome, _ = collected
    assert len(list(thirty.glob("*.zip"))) == 30
    assert outcome.code == 1 and len(outcome.data["students"]) == 27
    broken, cut, mallory = outcome.data["left_out"]
    assert broken.startswith("Broken.zip is left out, it is no whole zip file")
    assert cut.startswith("Cut.zip is left out, it is no whole zip file")
    assert mallory.startswith("Mallory.zip is left out, it holds 'runs/0123456789abcdef/model.pkl', where only")
    assert all(sentence.endswith("ask for a file made by `labkit submit`.") for sentence in (broken, cut, mallory))
    assert not (thirty / "executed").exists()


def test_the_table_says_what_the_records_say(collected):
    text = (collected[1] / "class.csv").read_text("utf-8-sig")
    rows = {(row["student"], row["lesson"]): row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == 28                                    # of one student two lessons
    one = rows["Student 03", "00_start"]
    assert (one["runs"], one["updates"], one["passed"], one["asked"], one["broke"]) == ("2", "400", "3", "3", "1")
    assert one["best_rate"] == "0.0003" and one["best_verdict"] == "healthy"
    assert float(one["loss_before"]) > float(one["loss_after"])
    assert rows["Student 03", "01_learning_rate"]["runs"] == "2"


def test_markup_and_formulas_in_names_stay_text(collected):
    page, table = ((collected[1] / name).read_text("utf-8-sig") for name in ("class.html", "class.csv"))
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; / ../Ada" in page
    assert all(not row["student"].startswith("=") for row in csv.DictReader(io.StringIO(table)))
    assert "default-src 'none'" in page and "http" not in page.replace("HYPERLINK(&quot;http", "").replace(
        "http-equiv", "")
    assert "27 students" in page and "alt=\"00 · Start: " in page
    assert MARKED in collected[0].text


def test_nothing_is_written_outside_the_folder_of_the_results(collected):
    assert sorted(path.name for path in collected[1].iterdir() if path.is_file()) == [
        "class.csv", "class.html", "class.png"]


def zipped(path, *members, about=True):
    """Write a zip file of (name or ZipInfo, bytes)."""
    told = {"submission_version": 1, "student": "Eve", "made": "2026-11-27T10:00:00+00:00"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        if about:
            file.writestr("submission.json", json.dumps(told if about is True else told | about))
        for name, data in members:
            file.writestr(name, data)
    return path


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


RECORD = "runs/0123456789abcdef/config.json"


@pytest.mark.parametrize("members, about, said", [
    ([("../outside.ipynb", b"x")], True, "it holds '../outside.ipynb'"),
    ([("/etc/cron.d/x", b"x")], True, "it holds '/etc/cron.d/x'"),
    ([("notebooks/..\\..\\x.ipynb", b"x")], True, "where only notebooks and records of runs belong"),
    ([("notebooks/a.py", b"x")], True, "it holds 'notebooks/a.py'"),
    ([("runs/../../config.json", b"x")], True, "where only notebooks"),
    ([link(RECORD, "/etc/passwd")], True, "is a link or a device"),
    ([(RECORD, b"\0" * 20_000)], True, "it would unpack to 2 files of 0 MB"),
    ([(f"notebooks/{n}.ipynb", b"") for n in range(40)], True, "it would unpack to 41 files"),
    ([(RECORD, b"{}"), (RECORD, b"{}")], True, "two files of one name"),
    ([], False, "it holds no submission.json"),
    ([], {"student": 5}, "its submission.json does not say student"),
    ([], {"submission_version": 99}, "was made by a newer labkit"),
], ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_no_submission_holds_is_refused_in_one_sentence_before_a_byte_is_written(
        tmp_path, monkeypatch, members, about, said):
    monkeypatch.setattr(submission, "MOST_BYTES", 10_000)     # as large a bomb as a test can afford
    monkeypatch.setattr(submission, "MOST_FILES", 20)
    file = zipped(tmp_path / "eve.zip", *members, about=about)
    with pytest.raises(submission.LabError) as raised:
        submission.unpacked(file, tmp_path / "place")
    sentence = str(raised.value)
    assert said in sentence and sentence.startswith("eve.zip is left out") and "\n" not in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["eve.zip"]


def test_records_that_are_damaged_inside_are_told_and_the_rest_of_them_counts(tmp_path, capsys):
    whole = hand_in(tmp_path, "Ada", rates=(1e-3, 1e-2), lessons=slice(0, 1))
    with zipfile.ZipFile(whole) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    journal = next(name for name in members if name.endswith("events.jsonl"))
    with zipfile.ZipFile(whole, "w") as made:
        for name, data in members.items():
            made.writestr(name, data.replace(b"loss", b"lost", 1) if name == journal else data)
    code, out, _ = labkit(capsys, "collect", tmp_path, "--to", tmp_path / "out", "--json")
    data = json.loads(out)
    assert data["students"][0]["lessons"]["00_start"]["runs"] == 1
    assert data["left_out"][0].startswith(f"Ada.zip: Line 1 of {journal}") and str(tmp_path) not in data["left_out"][0]


def test_a_notebook_that_is_none_leaves_its_submission_out_by_name(tmp_path, capsys):
    zipped(tmp_path / "eve.zip", ("notebooks/00_start.ipynb", b"{}"))
    hand_in(tmp_path, "Ada", rates=(1e-3,), lessons=slice(0, 1))
    code, out, _ = labkit(capsys, "collect", tmp_path, "--to", tmp_path / "out", "--json")
    data = json.loads(out)
    assert code == 1 and len(data["students"]) == 1
    assert data["left_out"][0].startswith("eve.zip: notebooks/00_start.ipynb cannot be read as a notebook")


def test_of_two_submissions_of_one_student_the_later_is_taken_and_shared_runs_are_counted(tmp_path, capsys):
    hand_in(tmp_path, "Ada", passed=1, lessons=slice(0, 1), rates=(1e-3,), file="late.zip",
            made="2026-11-28T10:00:00+00:00")
    early = hand_in(tmp_path, "Ada", passed=3, lessons=slice(0, 1), rates=(1e-3,), file="early.zip")
    with zipfile.ZipFile(early) as opened:
        told = {name: opened.read(name) for name in opened.namelist()}
    copied = {name: data.replace(b'"Ada"', b'"Bob"') if name == "submission.json" else data
              for name, data in told.items()}
    with zipfile.ZipFile(tmp_path / "bob.zip", "w") as made:
        for name, data in copied.items():
            made.writestr(name, data)
    code, out, _ = labkit(capsys, "collect", tmp_path, "--to", tmp_path / "out", "--nbgrader", tmp_path / "course",
                          "--json")
    assert b"not yet" in (tmp_path / "course/submitted/Ada/00_start/00_start.ipynb").read_bytes()
    ada, bob = json.loads(out)["students"]
    assert (ada["file"], ada["lessons"]["00_start"]["passed"]) == ("late.zip", 1)
    assert "late.zip, the later one, is taken and not early.zip" in json.loads(out)["left_out"][0]
    assert ada["shared_runs"] == bob["shared_runs"] == 1


def test_submissions_go_where_nbgrader_looks_for_them_and_never_over_one_that_is_there(tmp_path, capsys):
    (tmp_path / "zips").mkdir()
    hand_in(tmp_path / "zips", "../Ada <b>", lessons=slice(0, 1), rates=(1e-3,))
    for code, sentences in ((0, 0), (1, 1)):
        result, out, _ = labkit(capsys, "collect", tmp_path / "zips", "--to", tmp_path / "out",
                                "--nbgrader", tmp_path / "course", "--json")
        assert result == code and len(json.loads(out)["left_out"]) == sentences
    folder = tmp_path / "course/submitted/Ada_b/00_start"
    assert sorted(path.name for path in folder.iterdir()) == ["00_start.ipynb", "runs"]
    assert [path.name for path in sorted(folder.glob("runs/*/*"))] == ["config.json", "events.jsonl"]


def test_of_two_copies_of_a_lesson_the_one_of_its_name_is_graded_and_a_copy_that_broke_off_is_completed(
        tmp_path, capsys):
    (tmp_path / "zips").mkdir()
    hand_in(tmp_path / "zips", "Ada", lessons=slice(0, 1), rates=(1e-3,))
    [made] = (tmp_path / "zips").glob("*.zip")
    with zipfile.ZipFile(made, "a") as file:
        [name] = [name for name in file.namelist() if name.endswith(".ipynb")]
        file.writestr(name.replace(".ipynb", "-Copy1.ipynb"), file.read(name).replace(b'"cells"', b'"cells" '))
        original = file.read(name)
    folder = tmp_path / "course/submitted/Ada/00_start"
    folder.mkdir(parents=True)                                # what was there when an earlier command was stopped
    _, out, _ = labkit(capsys, "collect", tmp_path / "zips", "--to", tmp_path / "out", "--nbgrader",
                       tmp_path / "course", "--json")
    assert (folder / "00_start.ipynb").read_bytes() == original and (folder / "runs").is_dir()
    assert any("00_start-Copy1.ipynb of Ada is another copy" in each for each in json.loads(out)["left_out"])


def test_where_none_can_be_read_the_table_says_so(tmp_path, capsys):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    code, out, _ = labkit(capsys, "collect", tmp_path, "--to", tmp_path / "out")
    assert code == 1 and out.startswith("No submission could be read.\na.zip is left out")
    assert (tmp_path / "out/class.html").is_file()


def test_a_folder_without_submissions_says_what_writes_one(tmp_path, capsys):
    assert "`labkit submit` writes one" in labkit(capsys, "collect", tmp_path)[2]
    assert "is no folder" in labkit(capsys, "collect", tmp_path / "none")[2]


def test_an_answer_counts_once_however_often_its_cell_was_copied(tmp_path):
    notebook = json.loads(answered(notebooks.lessons()[0], 1))
    notebook["cells"] += [cell for cell in notebook["cells"] if "check" in cell["metadata"].get("tags", ())]
    assert len(set(collect.passed(notebook))) == 1
