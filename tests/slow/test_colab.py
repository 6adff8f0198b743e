"""The lessons run with what Colab has installed: old IPython, ipykernel 6, ipywidgets 7 (its Python API, no page)."""

import json
import os
import subprocess
import sys
import sysconfig

import pytest

from labkit.lessons import notebooks
from labkit.settings import REPO

# googlecolab/backend-info, list of August 2026
PINS = ("ipykernel==6.17.1 ipython==7.34.0 ipywidgets==7.7.1 traitlets==5.7.1 jupyter_client==7.4.9 "
        "jupyter_core==5.9.1 nbclient==0.10.4 matplotlib==3.10.0 matplotlib-inline==0.2.2 tornado==6.5.7 "
        "pyzmq==26.2.1 numpy==2.1.3 pillow==11.3.0 psutil==5.9.5 "
        "anywidget==0.9.21 papermill").split()

pytestmark = pytest.mark.xdist_group("colab")                    # in one worker, so that it is installed once


@pytest.fixture(scope="module")
def colab_python(tmp_path_factory):
    """Give an interpreter with Colab's versions before ours; torch and diffusers are taken from here."""
    folder = tmp_path_factory.mktemp("colab") / "venv"
    python = folder / "bin" / "python"
    for command in ([sys.executable, "-m", "venv", folder],
                    [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS],
                    [python, "-m", "ipykernel", "install", "--prefix", folder, "--name", "python3"]):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "zz_the_rest.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


@pytest.mark.parametrize("path", notebooks.lessons(), ids=lambda path: path.stem)
def test_a_lesson_runs_with_the_versions_of_colab(path, colab_python, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPO), "LABKIT_FAST": "1", "LABKIT_FRONTEND": "colab",
                   "IPYTHONDIR": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "1", "LABKIT_STORE": str(tmp_path / "runs")}
    job = {"path": str(path), "target": str(tmp_path / "out.ipynb"), "parameters": {}}
    result = subprocess.run([colab_python, "-m", "labkit.cli.execute"], input=json.dumps(job), env=environment,
                            capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stderr[-3000:]


def test_the_environment_is_really_the_old_one(colab_python):
    code = "import IPython, ipywidgets, numpy; print(IPython.__version__, ipywidgets.__version__, numpy.__version__)"
    result = subprocess.run([colab_python, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["7.34.0", "7.7.1", "2.1.3"]


def test_a_race_becomes_a_widget_with_the_versions_of_colab(colab_python):
    code = ("from labkit.view.race_view import RaceView; import anywidget; view = RaceView.replay('race'); "
            "print(anywidget.__version__, len(view.widget.get_state()['pieces']) == len(view.data.pieces))")
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    result = subprocess.run([colab_python, "-c", code], env=environment, capture_output=True, text=True)
    assert result.stdout.split() == ["0.9.21", "True"], result.stderr[-2000:]
