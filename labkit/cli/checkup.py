"""Say what this machine has and lacks for the lab, with the remedy. Works where nothing is installed yet."""

import importlib
import os
import shutil
import sys
import textwrap

from labkit import settings
from labkit.cli import environment
from labkit.cli.parser import Outcome
from labkit.cli.requirements import missing, pyproject, requirements, split
from labkit.errors import LabError, first_cause
from labkit.machine import IMPORT_NAMES, Finding, free_memory, gpu_name, installed_version, quota
from labkit.text import LINE

MEMORY_GIB = 2.0  # a lesson on the embedded base needs 1.5
# An environment takes 1.7 GiB with a torch for CPUs and 5.3 with one for CUDA; pip fetches all before it unpacks.
DISK_GIB = {"install": 4.0, "install with CUDA": 8.0, "runs": 0.5}
MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


def findings():
    """Return all findings of this interpreter on this machine."""
    return [python(), packages(), torch(), imports(), threads(), memory(), disk(), store()]


def text(results=None):
    """Return the self-check, or these Findings, as lines of text."""
    lines = []
    for name, state, there, remedy in results or findings():
        lines += _wrapped(f"{MARKS[state]}  {name + ':':<10} {there}", 18)
        lines += _wrapped(f"      -> {remedy}", 9) if remedy else []
    return "\n".join(lines)


def _wrapped(line, indent):
    """Break a line between words; what goes on in a next line begins at column `indent`."""
    return textwrap.wrap(line, LINE, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def verb(options):
    """Print the self-check of the machine, or of a design.

    Exit code 1 where something of the machine is bad, 2 where a design, a base or a folder of pictures is.
    """
    if options.design:
        from labkit.experiments.preflight import look_over  # needs packages, which may not be installed yet

        results = inputs_found = look_over(options.design, base=options.base, data=options.data,
                                           **reading(options))
    else:
        inputs_found = inputs(options.base, options.data, **reading(options))
        results = findings() + inputs_found
    code = 2 if is_bad(inputs_found) else 1 if is_bad(results) else 0
    return Outcome(code, text(results), [finding._asdict() for finding in results])


def reading(options):
    """Return how a folder is to be read, as the command line chooses it."""
    return {name: getattr(options, name) for name in ("crop", "captions") if getattr(options, name)}


def is_bad(results):
    """Tell whether one of these Findings is bad."""
    return any(finding.state == "bad" for finding in results)


def inputs(base=None, data=None, **reading):
    """Return the Findings on a base's files and on a folder of pictures, where they are given; no model is loaded.

    reading    crop and captions of the folder, as `labkit.datasets.folders.territory` takes them
    """
    results = []
    if base is not None:
        from labkit.engine.base_files import find_base, kind_of  # needs packages, as above

        try:
            files = find_base(base)
            place = files.single_file or files.folder
            results.append(Finding("base", "good", f"{place} can be read: {kind_of(files)}"))
        except LabError as error:
            results.append(Finding("base", "bad", str(error).removeprefix("base: ")))
    if data is not None:
        from labkit.experiments.folder_inspection import inspect_folder  # needs packages, as above

        results += inspect_folder(data, base or "embedded", **reading)
    return results


def python(version=sys.version_info):
    """Judge the interpreter's version."""
    there = f"{version[0]}.{version[1]}.{version[2]}"
    if version < (3, 11):
        return Finding("Python", "bad", there, "Install Python 3.11 or newer and start labkit with it, "
                                               "for example: python3.12 -m labkit lab")
    tested = [line.rsplit(" ", 1)[1] for line in pyproject()["project"]["classifiers"] if "Python :: 3." in line]
    if version[:2] > max(tuple(map(int, text.split("."))) for text in tested):
        return Finding("Python", "note", there, f"The tests ran with {tested[0]} to {tested[-1]}; "
                                                "if a package has no build for it, use one of these.")
    return Finding("Python", "good", there)


def packages():
    """Judge the installed packages and state their versions."""
    lacks = missing(("lab",))
    there = {name: installed_version(name) for name, _ in map(split, requirements(("lab",)))}
    versions = ", ".join(f"{name} {version}" for name, version in there.items() if version) or "none"
    if lacks:
        return Finding("packages", "note", versions, f"Missing here: {', '.join(lacks)}. "
                       f"`python3 -m labkit lab` brings them into {environment.venv_folder()}.")
    return Finding("packages", "good", versions)


def imports():
    """Judge whether what is installed can be imported, down to the classes that a base is loaded with."""
    by_name = {split(text)[0]: text for text in requirements(("lab",))}
    wanted = {name: text for name, text in by_name.items() if name != "torch" and installed_version(name)}
    if not wanted:
        return Finding("imports", "note", "nothing is installed yet")
    modules = {IMPORT_NAMES.get(name, name): name for name in wanted}
    failed = failures(modules)
    broken = [modules[name] for name in failed]
    causes = [f"{name} cannot be imported ({cause})" for name, cause in failed.items()]
    if not failed and not missing():
        try:
            importlib.import_module("labkit.engine.base").load_libraries()
        except Exception as error:  # as for torch: whatever it is, they do not import
            broken = ["diffusers", "transformers"]
            causes = [f"diffusers or transformers cannot be imported ({first_cause(error)})"]
    if not broken:
        return Finding("imports", "good", "all that is installed")
    pip, again = f'"{sys.executable}" -m pip install', " ".join(f'"{wanted[name]}"' for name in broken)
    return Finding("imports", "bad", "; ".join(causes),
                   f"{pip} --force-reinstall --no-deps {again}, then, for what they need: {pip} {again}")


def failures(modules):
    """Return {module: true cause} of the modules that do not import."""
    causes = {}
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken library raises OSError, RuntimeError and more; all mean the same here
            causes[name] = first_cause(error)
    return causes


def torch():
    """Judge whether torch uses the accelerator that is there."""
    version = installed_version("torch")
    if version is None:
        there = "not installed" + (f"; GPU: {gpu_name()}" if gpu_name() else "")
        return Finding("torch", "note", there, "`python3 -m labkit lab` installs it with the rest.")
    try:
        import torch as library  # heavy, and whether it loads is the question
    except Exception as error:  # a broken torch raises OSError, ImportError and more; all mean the same here
        return Finding("torch", "bad", f"{version} does not load: {error}", reinstall())
    if library.cuda.is_available():
        return Finding("torch", "good", f"{version}, uses {library.cuda.get_device_name()}")
    return judge_torch(version, library.version.cuda, gpu_name(), library.backends.mps.is_available())


def judge_torch(version, built_for_cuda, gpu, has_mps, system=sys.platform):
    """Judge a torch that sees no CUDA device."""
    if gpu and not built_for_cuda:
        return Finding("torch", "bad", f"{version} was built without CUDA, but there is a GPU: {gpu}",
                       reinstall(system))
    if gpu:
        return Finding("torch", "bad", f"{version} (CUDA {built_for_cuda}) cannot use the GPU that is there: {gpu}",
                       f"Its driver is too old for CUDA {built_for_cuda}: update the driver, "
                       "or give LABKIT_TORCH a torch built for an older CUDA.")
    return Finding("torch", "good", f"{version}, uses {'Apple GPU (mps)' if has_mps else 'the CPU'}")


def reinstall(system=sys.platform):
    """Return the command that replaces torch by a build with CUDA."""
    version = pyproject()["tool"]["labkit"]["tested-torch"]
    command = f'"{sys.executable}" -m pip install --force-reinstall "torch=={version}"'
    if system.startswith("linux"):
        return command
    return f"{command} --index-url ADDRESS, with the address that PyTorch's own installation page shows for your CUDA"


def threads():
    """State how many threads training will use, and why."""
    count, reason = quota()
    return Finding("threads", "good" if count > 1 else "note", f"{count} of {os.cpu_count()} cores ({reason})",
                   "" if count > 1 else "Lessons run, slowly: more cores, or LABKIT_THREADS if this is wrong.")


def memory():
    """Judge the memory this process may still use."""
    free = free_memory()
    if free is None:
        return Finding("memory", "note", "unknown on this system", f"A lesson needs about {MEMORY_GIB:g} GiB.")
    if free < MEMORY_GIB * 2**30:
        return Finding("memory", "bad", f"{free / 2**30:.1f} GiB free",
                       f"A lesson needs about {MEMORY_GIB:g} GiB: close other notebooks and programs.")
    return Finding("memory", "good", f"{free / 2**30:.1f} GiB free")


def disk():
    """Judge the free space where the environment and the runs go."""
    with_cuda = sys.platform.startswith("linux") and environment.has_nvidia_driver()
    purpose = "runs" if not missing() else "install with CUDA" if with_cuda else "install"
    place = settings.store_dir() if purpose == "runs" else environment.venv_folder()
    while not place.exists() and place != place.parent:
        place = place.parent
    free, need = shutil.disk_usage(place).free / 2**30, DISK_GIB[purpose]
    if free < need:
        other = "set LABKIT_STORE to a folder elsewhere" if purpose == "runs" else "put the checkout on another disk"
        return Finding("disk", "bad", f"{free:.1f} GiB free at {place}",
                       f"{need:g} GiB are needed: free some, or {other}.")
    return Finding("disk", "good", f"{free:.1f} GiB free at {place}")


def store():
    """Judge whether runs can be recorded."""
    place = folder = settings.store_dir()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return Finding("runs", "bad", f"{place} cannot be written", "Set LABKIT_STORE to a folder you may write to.")
    return Finding("runs", "good", f"recorded in {place}")
