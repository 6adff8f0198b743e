"""The front door: right answers before anything is installed, one environment made once, resumed when interrupted."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from labkit.cli import bootstrap as front_door
from labkit.cli import environment as install
from labkit.cli.requirements import missing, requirements, satisfies
from labkit.settings import REPO

PIP_THAT_NOTES = """#!{python}
import os, sys, pathlib
if "labkit" in sys.argv: print("went on with", *sys.argv[1:]); sys.exit(0)
if "-c" in sys.argv: sys.exit({no_torch})
with open({log!r}, "a") as log: print(*sys.argv[1:], file=log)
sys.exit(1 if {fail!r} and {fail!r} in sys.argv else 0)
"""


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """Make a fake environment whose python only notes how it was called; returns a function that prepares it."""
    folder, log = tmp_path / ".venv", tmp_path / "log"
    monkeypatch.setattr(install, "venv_folder", lambda: folder)
    monkeypatch.setattr(install, "has_nvidia_driver", lambda: False)

    def prepare(fail="", no_torch=1):
        python = install.venv_python(folder)
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(PIP_THAT_NOTES.format(python=sys.executable, log=str(log), fail=fail, no_torch=no_torch))
        python.chmod(0o755)
        return folder

    prepare.calls = lambda: log.read_text().splitlines() if log.exists() else []
    return prepare


def labkit(*arguments, python=sys.executable, cwd=REPO, **environment):
    """Run the command line in an interpreter that sees no installed package."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(cwd), **environment}
    return subprocess.run([python, "-S", "-B", *arguments], cwd=cwd, capture_output=True, text=True, env=variables)


def test_an_old_python_is_told_so_before_newer_syntax_is_parsed():
    source = (REPO / "labkit/__main__.py").read_text()
    source = source.replace("sys.version_info < (3, 11)", "sys.version_info < (9, 0)")
    result = subprocess.run([sys.executable, "-c", source, "lab"], capture_output=True, text=True)
    assert result.returncode == 2 and "needs Python 3.11 or newer" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["__main__.py", "__init__.py", "openmp.py"])
def test_the_files_that_any_python_reads_parse_in_an_old_one(name):
    import ast

    ast.parse((REPO / "labkit" / name).read_text(), feature_version=(3, 4))
    assert not any(mark in (REPO / "labkit" / name).read_text() for mark in (' f"', ":=", "->", "print "))


@pytest.mark.parametrize("arguments, code, words", [
    (["--help"], 0, "verbs:"), (["train", "--help"], 0, "--set KEY=VALUE"), (["tran"], 2, "Did you mean train?"),
    (["chapter", "--parametr", "x=1"], 2, "Did you mean --parameter?"), ([], 2, "verbs:")])
def test_typing_errors_and_help_are_answered_without_installing(arguments, code, words, tmp_path):
    result = labkit("-m", "labkit", *arguments)
    assert result.returncode == code and words in result.stdout + result.stderr
    assert "Installing" not in result.stderr


def test_the_checkout_is_found_from_any_working_directory(tmp_path):
    result = labkit(str(REPO / "labkit"), "chaptr", cwd=tmp_path)
    assert result.returncode == 2 and "Did you mean chapter?" in result.stderr


def test_versions_are_compared_as_numbers():
    assert satisfies("2.13.0+cpu", ">=2.6,<3") and satisfies("2.6", ">=2.6,<3") and not satisfies("2.5.1", ">=2.6,<3")
    assert satisfies("0.9", ">=0.8,<0.10") and not satisfies("3.0", ">=2.6,<3")
    assert satisfies("3.0.0rc1", ">=2.6,<4") and not satisfies("10.0", ">=2,<9")


def test_extras_reach_each_other_and_nothing_is_named_twice():
    texts = requirements(("test",))
    assert len(texts) == len(set(texts)) and not any("parameter-design-lab" in text for text in texts)
    assert {text.split(">")[0] for text in texts} >= {"torch", "jupyterlab", "papermill", "pytest", "peft"}


def test_this_environment_lacks_nothing_for_the_tests_and_torch_is_not_imported_to_see_that():
    code = "import sys; from labkit.cli.requirements import missing; print(missing(('test',)), 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert result.stdout.strip() == "[] False"


def test_a_version_outside_the_range_is_named(monkeypatch):
    monkeypatch.setattr("labkit.cli.requirements.installed_version", lambda name: "0.0.1")
    assert "numpy >=2.0,<3 (found 0.0.1)" in missing()


@pytest.mark.parametrize("driver, system, first", [
    (False, "linux", "+cpu"),
    (True, "linux", ""),
    (False, "win32", ""),
    (False, "darwin", "")])
def test_only_linux_without_a_driver_asks_for_the_cpu_build_first(driver, system, first):
    commands = install.torch_commands("python", driver=driver, system=system, environ={})
    assert commands[0][-1].endswith(first) and len(commands) == 1 + bool(first)
    assert commands[-1][-1] == "torch==2.13.0"


def test_torch_and_its_index_can_be_chosen():
    environ = {"LABKIT_TORCH": "torch==2.9.1", "LABKIT_TORCH_INDEX": "https://example.org/simple"}
    [command] = install.torch_commands("python", driver=False, system="linux", environ=environ)
    assert command[-3:] == ["--extra-index-url", "https://example.org/simple", "torch==2.9.1"]


def test_an_installation_brings_torch_then_the_project_and_is_done_once(venv):
    folder = venv()
    assert not install.complete(folder, ("lab",))
    install.install(("lab",), ["torch"])
    calls = [call for call in venv.calls() if " install " in call and "--dry-run" not in call]
    assert "torch==2.13.0+cpu" in calls[0] and f"--editable {REPO}[lab]" in calls[1]
    assert install.complete(folder, ("lab",)) and install.complete(folder, ())
    assert not install.complete(folder, ("test",))
    before = venv.calls()
    install.install(("lab",), ["torch"])
    assert venv.calls() == before


def test_without_a_cpu_build_the_ordinary_torch_is_taken(venv):
    venv(fail="torch==2.13.0+cpu")
    install.install((), ["torch"])
    assert any(call.endswith("install torch==2.13.0") for call in venv.calls())


def test_a_torch_that_is_there_is_kept(venv, monkeypatch):
    venv()
    monkeypatch.setattr(install, "has_torch", lambda python: True)
    install.install((), ["numpy"])
    assert not any("torch==" in call for call in venv.calls())


def test_a_failed_installation_is_not_taken_for_a_complete_one_and_the_next_goes_on(venv):
    folder = venv(fail="--editable")
    with pytest.raises(SystemExit, match="goes on where it stopped"):
        install.install((), ["torch"])
    assert not install.complete(folder, ())
    venv()
    install.install((), ["torch"])
    assert install.complete(folder, ())


def test_the_tested_versions_are_installed(venv):
    venv()
    install.install((), ["numpy"])
    assert venv.calls()[-1].endswith(f"--editable {REPO} --constraint {REPO / 'constraints.txt'}")


def test_where_a_tested_version_cannot_be_had_the_ranges_are_taken_and_that_is_said(venv, capfd):
    folder = venv(fail="--constraint")
    install.install((), ["numpy"])
    assert venv.calls()[-1].endswith(f"--editable {REPO}") and install.complete(folder, ())
    assert "trying what pyproject.toml allows" in capfd.readouterr().err


def test_a_second_installation_waits_for_the_first(tmp_path, capsys):
    path, order = tmp_path / "lock", []

    def second():
        with install.only_one(path):
            order.append("second")

    with install.only_one(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.5)
        order.append("first")
    thread.join(120)
    assert order == ["first", "second"] and "waiting" in capsys.readouterr().err


def test_the_verb_goes_on_in_the_own_environment_and_its_words_stay_off_stdout(venv, tmp_path):
    folder = venv()
    code = f"""
import sys
from pathlib import Path
from labkit.cli import bootstrap as front_door, environment as install
install.venv_folder = lambda: Path({str(folder)!r})
install.has_nvidia_driver = lambda: False
sys.exit(front_door.main(["runs", "--json"]))"""
    result = labkit("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "went on with -P -m labkit runs --json"
    assert "Installing once into" in result.stderr and "torch" in result.stderr


def test_an_installation_that_does_not_help_ends_instead_of_looping(tmp_path):
    code = "import sys; from labkit.cli import bootstrap as front_door; sys.exit(front_door.main(['runs']))"
    result = labkit("-c", code, LABKIT_INSTALLED="1")
    assert result.returncode == 1 and "even after the installation" in result.stderr


def test_in_our_own_environment_the_end_of_an_interrupted_installation_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(install, "venv_folder", lambda: tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert front_door.lacking(()) == ["the end of an interrupted installation"]
    install.venv_python(tmp_path).parent.mkdir()
    install.venv_python(tmp_path).touch()
    (tmp_path / install.STAMP).write_text(json.dumps(requirements()))
    assert front_door.lacking(()) == []


def test_an_installation_torn_by_a_kill_is_found_by_its_missing_files(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    python = install.venv_python(tmp_path / "v")
    [site] = (tmp_path / "v").rglob("site-packages")
    for name, record in (("whole", "whole.py,,\n"), ("torn", "torn.py,,\ngone.py,,\n"), ("unfinished", None)):
        (site / f"{name}.py").touch()
        (site / f"{name}-1.dist-info").mkdir()
        (site / f"{name}-1.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        if record:
            (site / f"{name}-1.dist-info/RECORD").write_text(record)
    assert sorted(install.damaged(python)) == ["torn", "unfinished"]
