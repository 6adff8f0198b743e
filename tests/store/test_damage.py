"""What is damaged is named with its fault, is never taken for something else, and takes nothing else down."""

import json
import os
import shutil
import signal
import zlib

import numpy as np
import pytest
from command_line import labkit
from damage import contents, flipped, values
from old_store import without_checksums
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from told_runs import CONFIG, ID, checkpoint, keep, some_events

from labkit.cli import parser
from labkit.errors import LabError
from labkit.store import runs

OTHER = "b" * 16
AT = {"time": 1.0, "global_step": 3, "samples_seen": 12}
LINE = {"event": "Step", **AT, "loss": 0.1, "learning_rate": 1e-3, "grad_norm": 0.5, "update_norm": 0.01,
        "max_alloc": None}
VALIDATION = {"event": "Validation", **AT, "name": "validation", "grade": "monitor"}
SAMPLE = {"event": "Sample", **AT, "prompts": ["a"], "seeds": [0], "guidance_scale": 5.0, "scale": 1.0}
NO_LINES = [
    "[1]", "1", "{}", "[" * 100_000, '{"a":' * 100_000, "\0" * 80,
    *(json.dumps(LINE | fault) for fault in (
        {"global_step": None}, {"global_step": 10**300}, {"global_step": 1.5}, {"global_step": -1},
        {"time": 9e99}, {"time": "now"}, {"loss": None}, {"loss": 10**400}, {"loss": "much"}, {"max_alloc": [1]},
        {"event": 7}, {"event": "Stopped"}, {"event": "Stopped", "reason": "bored", "message": ""},
        {"event": "Stopped", "reason": {}, "message": ""},
    )),
    *(json.dumps(VALIDATION | fault) for fault in (
        {"losses": [[0.1], [0.2, 0.3]], "timesteps": [[1], [2]]}, {"losses": 0.1, "timesteps": 1},
        {"losses": [[10**400]], "timesteps": [[1]]}, {"losses": [[0.1]], "timesteps": [["soon"]]},
    )),
    *(json.dumps(SAMPLE | {"files": files}) for files in (["../../secret.png"], ["/etc/passwd"], [None])),
]
# What a config.json may hold that is not that of a run.
NO_CONFIGURATIONS = [
    '{"store_version": "1", "config": {}, "sessions": [{"meta": {}}]}',
    '{"store_version": 1, "config": [], "sessions": [{"meta": {}}]}',
    '{"store_version": 1, "config": {}, "sessions": {"0": {"meta": {}}}}',
    '{"store_version": 1, "config": {}, "sessions": [{"meta": {"group": 3}}]}',
    '{"store_version": 1, "config": {"rank": {}}, "sessions": [{"meta": {}}]}',
    '{"store_version": 1, "config": {"rnak": 4}, "sessions": [{"meta": {}}]}',
    "[" * 100_000, "\0" * 300, "",
]


@pytest.fixture
def store():
    """Give a store of two runs, the first of which a test may damage."""
    store = runs.Store()
    keep(store, some_events(reason="stopped"))
    keep(store, some_events(run=OTHER, last=3, reason="stopped"), CONFIG.replace(seed=1), OTHER)
    return store


def ids(out):
    """Return the runs of a listing as JSON."""
    return [row["id"] for row in json.loads(out)]


@pytest.fixture
def no_waiting():
    """Fail instead of waiting without end."""
    def late(*_):
        raise TimeoutError("waited for a pipe")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("line", NO_LINES)
def test_a_line_that_no_run_tells_is_named_and_the_other_runs_are_listed_judged_and_found(store, capsys, line):
    with open(store.run(ID).events_path, "a") as file:
        file.write(line + "\n")
    for verb in ("runs", "diagnose"):
        code, out, err = labkit(capsys, verb, "--json")
        assert code == 0 and "events.jsonl is damaged" in err and "Traceback" not in err
        assert ids(out) == [OTHER]
    code, _, err = labkit(capsys, "diagnose", ID)
    assert code == 2 and "is damaged" in err
    assert labkit(capsys, "diagnose", OTHER)[0] == 0


@pytest.mark.parametrize("length", [1, 30, 5000, 20_000])
def test_a_garbled_end_of_a_journal_is_told_and_only_an_unterminated_line_is_torn(store, length):
    folder, garbage = store.run(ID), np.random.default_rng(length).bytes(length).replace(b"\n", b"?")
    whole = folder.events_path.read_bytes()
    folder.events_path.write_bytes(whole + garbage)
    assert folder.status == "stopped" and len(folder.load().steps["loss"]) == 4
    folder.events_path.write_bytes(whole + garbage + b"\n")
    for read in (lambda: folder.status, folder.load, folder.checkpoints):
        with pytest.raises(LabError, match=r"Line 11 of .*events.jsonl is damaged"):
            read()


@pytest.mark.parametrize("name", ["events.jsonl", "config.json"])
def test_a_flipped_bit_of_a_journal_or_a_configuration_is_told(store, name):
    folder, noticed = store.run(ID), 0
    whole, expected = (folder.path / name).read_bytes(), values(folder.load())
    bits = np.random.default_rng(0).choice(8 * len(whole), 400, replace=False)
    for bit in bits:
        (folder.path / name).write_bytes(flipped(whole, int(bit)))
        try:
            assert values(folder.load()) == expected         # the name of a checksum: then it is not asked
        except LabError as error:
            noticed += name in str(error)
    assert noticed >= 390


def test_the_last_line_cannot_be_flipped_into_another_end(store):
    folder, noticed = store.run(ID), 0
    whole = folder.events_path.read_bytes()
    last = len(whole[:-1].rpartition(b"\n")[0]) + 1
    for bit in range(8 * last, 8 * len(whole)):
        folder.events_path.write_bytes(flipped(whole, bit))
        try:
            assert folder.status == "stopped"
        except LabError:
            noticed += 1
    assert noticed > 0.95 * 8 * (len(whole) - last)


def test_a_missing_or_repeated_line_is_told(store):
    folder = store.run(ID)
    first, second, *rest = folder.events_path.read_bytes().splitlines(keepends=True)
    for lines in ((first, *rest), (first, second, second, *rest)):
        folder.events_path.write_bytes(b"".join(lines))
        with pytest.raises(LabError, match="Line [23] of"):
            folder.load()


def test_flipped_bits_of_checkpoints_and_adapters_are_told(store):
    folder = store.run(ID)
    last = folder.path / "checkpoints" / "000004.safetensors"
    reads = {last: folder.checkpoint, folder.adapter_path: folder.adapter}
    for file, read in reads.items():
        whole, expected = file.read_bytes(), contents(read())
        noticed = 0
        for bit in np.random.default_rng(1).choice(8 * len(whole), 300, replace=False):
            file.write_bytes(flipped(whole, int(bit)))
            try:
                assert contents(read()) == expected           # a space of the header
            except LabError as error:
                noticed += file.name in str(error)
        assert noticed >= 290
        file.write_bytes(whole)


def test_a_store_without_checksums_reads_the_same_goes_on_and_is_summed_from_there(store):
    folder = store.run(ID)
    before = values(folder.load())
    without_checksums(folder.path)
    assert values(folder.load()) == before
    assert contents(folder.checkpoint()) == contents(checkpoint(4))
    assert contents(folder.adapter()) == [contents(checkpoint(4))[0]]
    keep(store, some_events(first=2), resume_at=2)
    whole = folder.events_path.read_bytes()
    assert folder.status == "finished" and b"crc32" not in whole.splitlines()[0] and b"crc32" in whole.splitlines()[-1]
    folder.events_path.write_bytes(flipped(whole, 8 * 60))    # in a line without a sum of its own
    with pytest.raises(LabError, match="is damaged"):
        folder.load()


@pytest.mark.parametrize("name", [
    "events.jsonl", "config.json", "adapter.safetensors", "checkpoints/000004.safetensors",
])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(store, capsys, tmp_path, no_waiting, name):
    folder = store.run(ID)
    (folder.path / name).unlink()
    os.mkfifo(folder.path / name)
    code, out, err = labkit(capsys, "runs", "--json")
    if name.endswith("safetensors"):
        assert code == 0 and set(ids(out)) == {ID, OTHER}
        step = () if name.startswith("adapter") else ("--step", 4)
        code, _, err = labkit(capsys, "export", ID, *step, "--to", tmp_path / "a.safetensors")
        assert code == 2 and "is not a file" in err
    else:
        assert code == 0 and ids(out) == [OTHER] and "is not a file but a folder, pipe or device" in err
        with pytest.raises(LabError, match="is not a file"):
            keep(store, some_events(first=2), resume_at=2)


@pytest.mark.parametrize("text", NO_CONFIGURATIONS)
def test_a_configuration_that_is_none_is_named_and_the_other_runs_are_listed(store, capsys, text):
    (store.run(ID).path / "config.json").write_text(text)
    code, out, err = labkit(capsys, "runs", "--json")
    assert code == 0 and ids(out) == [OTHER]
    assert "labkit: " in err and "Traceback" not in err and "UserWarning" not in err


def test_a_store_whose_runs_are_all_damaged_is_not_called_empty(store, capsys):
    for name in (ID, OTHER):
        (store.run(name).path / "events.jsonl").write_text("[1]\n")
    for verb in ("runs", "diagnose"):
        code, out, err = labkit(capsys, verb)
        assert code == 0 and out == f"No run in {store.root} can be read.\n"
        assert err.count("events.jsonl is damaged") == 2


def test_an_adapter_that_is_cut_random_or_another_runs_is_not_exported(store, capsys, tmp_path):
    folder, target = store.run(ID), tmp_path / "out.safetensors"
    whole = folder.adapter_path.read_bytes()
    with safe_open(folder.adapter_path, "np") as file:
        words = file.metadata()
    tensors = load_file(folder.adapter_path)

    def refused(word):
        code, _, err = labkit(capsys, "export", ID, "--to", target)
        assert code == 2 and "adapter.safetensors" in err and word in err and not target.exists()

    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        folder.adapter_path.write_bytes(whole[:size])
        refused("not a readable adapter")
    folder.adapter_path.write_bytes(np.random.default_rng(0).bytes(len(whole)))
    refused("not a readable adapter")
    rng = np.random.default_rng(0)
    random = {name: rng.normal(size=array.shape).astype(np.float32) for name, array in tensors.items()}
    save_file(random, folder.adapter_path, words)
    refused("does not match its checksum")
    save_file(random, folder.adapter_path, {name: value for name, value in words.items() if name != "checksum"})
    refused("--step 4")
    shutil.copy(store.run(OTHER).adapter_path, folder.adapter_path)
    refused("--step 4")
    assert labkit(capsys, "export", ID, "--step", 4, "--to", target)[0] == 0
    assert all(np.array_equal(load_file(target)[name], array) for name, array in tensors.items())


def test_an_adapter_is_exported_where_checkpoints_were_removed_to_save_space(store, capsys, tmp_path):
    shutil.rmtree(store.run(ID).path / "checkpoints")
    assert labkit(capsys, "export", ID, "--to", tmp_path / "a.safetensors")[0] == 0


def test_a_damaged_member_of_its_pass_is_named_and_a_run_is_resumed_without_it(capsys, monkeypatch):
    store = runs.Store()
    for run, config in ((ID, CONFIG), (OTHER, CONFIG.replace(seed=1))):
        keep(store, some_events(run=run, reason="stopped"), config, run, meta={"group": [ID, OTHER]})
    store.run(OTHER).events_path.write_bytes(b"[1]\n")
    requests = []

    def train_all(configs, options, expected):
        requests.append((configs, expected))
        return parser.Outcome(0, "", [])

    monkeypatch.setattr("labkit.cli.runs.train_all", train_all)
    code, _, err = labkit(capsys, "resume", ID)
    assert code == 0 and requests == [([CONFIG], ID)] and f"{OTHER}/events.jsonl is damaged" in err


def test_a_fork_copies_nothing_from_outside_its_parents_folder(store, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    without_checksums(store.run(ID).path)
    path = store.run(ID).events_path
    path.write_text(json.dumps(SAMPLE | {"files": ["../../secret.png"]}) + "\n" + path.read_text())
    config = CONFIG.replace(parent=ID, lr_edits=((2, 1e-4),))
    with pytest.raises(LabError, match="Line 1 of .*not in the run's folder"):
        keep(store, some_events(first=2, run="c" * 16), config, "c" * 16, resume_at=2)
    assert list(tmp_path.rglob("secret.png")) == [tmp_path / "secret.png"]


def test_a_fork_that_broke_off_while_it_copied_its_parent_is_begun_again(store):
    config = CONFIG.replace(parent=ID, lr_edits=((2, 1e-4),))
    whole = list(keep(store, some_events(first=2, run="d" * 16), config, "d" * 16, resume_at=2))
    fork = store.run("c" * 16)
    fork.path.mkdir()
    lines = store.run("d" * 16).events_path.read_bytes().splitlines(keepends=True)
    fork.events_path.write_bytes(b"".join(lines[:2]))         # two of the parent's events, and no checkpoint yet
    assert len(list(keep(store, some_events(first=2, run="c" * 16), config, "c" * 16, resume_at=2))) == len(whole)
    assert fork.load().steps["global_step"].tolist() == [1, 2, 3, 4]


def test_a_damaged_picture_is_named(store):
    (sample,) = store.run(ID).load().samples
    whole = sample.paths[0].read_bytes()
    size = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + whole[24:29]                         # of 900 million pixels
    for data in (b"", b"no picture", whole[:60], whole[:12] + size + zlib.crc32(size).to_bytes(4, "big") + whole[33:]):
        sample.paths[0].write_bytes(data)
        with pytest.raises(LabError, match="png cannot be read as a picture"):
            sample.load()
    sample.paths[0].unlink()
    with pytest.raises(LabError, match="png cannot be read"):
        sample.load()
