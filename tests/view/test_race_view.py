"""A race that is played: what it tells its front end, that it tells it once, and what stands where nothing may run."""

import base64
import dataclasses
import io
import json
import re
import sys

import numpy as np
import pytest
from made_runs import made_race, made_run, made_seeds, scored_race
from matplotlib.text import Text
from PIL import Image
from test_contrast import luminance, rgb
from told_runs import validation

from labkit import settings
from labkit.design.config import RunConfig
from labkit.design.naming import setting_text
from labkit.errors import LabError
from labkit.store.events import Sample, Step, Stopped
from labkit.store.history import RunBuilder
from labkit.view import instead, race_view, tables
from labkit.view.evidence import Note, or_note
from labkit.view.pictures import Comparison
from labkit.view.race_view import RaceView, script

NAMES = ["3e-5", "1e-3", "1e-2", "3e-2", "3e-1"]


def told(view, kind, **where):
    """Return the pieces of a kind, those alone that have some values."""
    return [piece for piece in view.data.pieces if piece["kind"] == kind and where.items() <= piece.items()]


def test_a_race_names_its_runs_by_the_one_field_that_differs_as_people_write_it():
    view = RaceView(made_race())
    [head, *_] = told(view, "race")
    assert (head["title"], head["field"], head["last"]) == ("A race over learning_rate", "learning_rate", 200)
    assert [piece["name"] for piece in told(view, "run")] == NAMES
    assert len({piece["color"] for piece in told(view, "run")}) == 5


def test_losses_come_with_intervals_and_what_is_no_number_is_told_as_none():
    race = made_race()
    view = RaceView(race)
    healthy = told(view, "loss", run=race[1].run_id)
    assert [piece["at"][0] for piece in healthy] == [0, 4, 10, 30, 90, 150, 200]
    assert all(low <= mean <= high for _, mean, low, high in (piece["at"] for piece in healthy))
    assert healthy[0]["at"][1] == pytest.approx(0.2) == healthy[0]["at"][2]
    assert [piece["at"][1:] for piece in told(view, "loss", run=race[4].run_id)][-1] == [None, None, None]
    json.dumps(view.data.pieces, allow_nan=False, default=len)


def test_pictures_are_webp_of_two_seeds_and_large_ones_become_small():
    run = made_run()
    images = np.zeros((3, 600, 600, 3), np.uint8)
    run.samples[0] = dataclasses.replace(run.samples[0], images=images)
    first, *_ = told(RaceView([run]), "pictures")
    assert first["step"] == 0 and len(first["images"]) == 2
    assert all(image[:4] == b"RIFF" and image[8:12] == b"WEBP" for image in first["images"])
    assert Image.open(io.BytesIO(first["images"][0])).size == (256, 256)


def test_one_picture_a_run_is_enough_where_one_is_asked_for():
    view = RaceView(made_race(), seeds=1)
    assert {len(piece["images"]) for piece in told(view, "pictures")} == {1}
    assert len(told(view, "race")[0]["prompts"]) == 1 and len(view.page()) < len(RaceView(made_race()).page())
    assert sum(text.get_text() == "base" for text in view.figure().findobj(Text)) == 1


def test_verdict_score_and_the_lowest_run_are_said():
    view = RaceView(scored_race())
    verdicts = {piece["run"]: piece for piece in told(view, "verdict")}
    said = [(verdicts[run.run_id]["label"], verdicts[run.run_id]["score"]) for run in view.runs]
    assert said[1] == ("healthy", "16/16 accepted") and said[4][0] == "diverged"
    healthy = verdicts[view.runs[1].run_id]
    assert healthy["chapter"] == "region of coherence" and float(healthy["confidence"]) > 0.5
    assert healthy["evidence"] and all(isinstance(text, str) for row in healthy["evidence"] for text in row)
    assert "1e-3 ends lowest, at 0.100." in view.sentence and "Diverged: 3e-2, 3e-1." in view.sentence


def test_a_race_that_goes_on_has_a_lowest_run_so_far_alone():
    race = [made_run("healthy", learning_rate=1e-3, upto=90), made_run("stagnating", learning_rate=3e-5, upto=90)]
    said = RaceView(race).sentence
    assert "1e-3 is lowest so far, at 0.105." in said and "ends lowest" not in said


def test_a_race_that_rests_has_a_lowest_run_so_far_until_it_is_over(growing):
    view, feed, _, names = growing
    for name, loss in zip(names, (0.2, 0.1), strict=True):
        feed(validation(0, 0.3, run=name))
        feed(validation(2, loss, run=name))
        feed(Stopped(name, 2, 8, "stopped"))
    assert "is lowest so far, at 0.100" in view.sentence
    view.end()
    assert "ends lowest, at 0.100" in view.sentence


def test_of_several_seeds_the_first_is_shown_and_of_many_runs_eight():
    view = RaceView(made_seeds())
    assert len(told(view, "run")) == 4 and "4 of 12 runs, those of seed 0." in view.sentence
    many = RaceView([made_run(learning_rate=rate * 1e-4, pictures=False) for rate in range(1, 12)])
    assert [piece["name"] for piece in told(many, "run")][-1] == "8e-4" and "8 of 11 runs, the first." in many.sentence
    seeds = RaceView([made_run(seed=seed, pictures=False) for seed in range(9)])
    assert "8 of 9 runs, the first." in seeds.sentence
    both = RaceView([made_run(learning_rate=rate * 1e-4, seed=seed, pictures=False)
                     for rate in range(1, 10) for seed in (0, 1)])
    assert "8 of 18 runs, the first of seed 0." in both.sentence


def test_a_run_that_broke_ends_no_race_as_its_lowest_whatever_it_was_last_measured_at():
    broken = dataclasses.replace(made_run(learning_rate=1e-1, pictures=False), status="diverged")
    held = broken.validations["validation"]
    broken = dataclasses.replace(broken, validations={"validation": held._replace(
        steps=held.steps[:1], losses=held.losses[:1] * np.float32(0.1))})
    runs = [made_run(learning_rate=rate, pictures=False) for rate in (1e-3, 3e-3)]
    assert "1e-1 ends lowest" not in RaceView([*runs, broken]).sentence
    assert broken not in tables.lowest([*runs, broken])


def test_a_figure_of_one_run_or_over_a_field_without_a_number_has_a_title():
    assert RaceView([made_run()]).figure().axes[0].get_title("left").startswith("One design: ")
    runs = [dataclasses.replace(made_run(snr_gamma=gamma), run_id=name * 16)
            for name, gamma in (("a", 5.0), ("b", None))]
    assert RaceView(runs).figure().axes[0].get_title("left").startswith("One design at 2 snr gammas")


def test_runs_of_several_lengths_each_show_their_own_end():
    short, long = (made_run(learning_rate=last * 1e-5, max_train_steps=last, upto=last) for last in (50, 200))
    layout = Comparison([short, long], is_brief=True)
    assert layout.heads == ["base", "midway", "end"] and layout.steps == [0, 1, 2]
    for run, by_column in zip((short, long), layout.pictures, strict=True):
        drawn = {samples.global_step: samples.load() for samples in run.samples}
        assert np.array_equal(by_column[2][0], drawn[max(drawn)][0])


def test_runs_that_differ_in_several_fields_are_named_by_the_fewest_that_tell_them_apart():
    runs = [made_run(learning_rate=rate, rank=rank) for rate, rank in ((1e-3, 4), (1e-3, 8), (1e-2, 8))]
    assert [piece["name"] for piece in told(RaceView(runs), "run")] == [
        "rank 4, learning rate 1e-3", "rank 8, learning rate 1e-3", "rank 8, learning rate 1e-2"]
    table = RaceView(runs).table()
    assert table.heads[:2] == ["run", "learning rate"]
    assert [row[0] for row in table.rows] == [piece["name"] for piece in told(RaceView(runs), "run")]


def test_of_settings_that_tell_runs_apart_equally_well_the_rate_is_named():
    runs = [made_run(n_train=count, rank=rank, learning_rate=rate, max_train_steps=steps)
            for count, rank, rate, steps in ((12, 4, 1e-3, 200), (12, 8, 1e-2, 200), (4, 8, 1e-3, 1))]
    names = [piece["name"] for piece in told(RaceView(runs), "run")]
    assert all("learning rate" in name and "rank" not in name for name in names), names
    assert setting_text("max_train_steps", 1) == "1 update"


@pytest.mark.parametrize("name", ["presets", "u_curve", "long_runs"])
def test_a_recorded_set_is_replayed_and_says_so(name):
    view = RaceView.replay(name)
    assert told(view, "race")[0]["origin"] == "recorded" and "it was not trained here" in view.sentence
    assert len(told(view, "verdict")) == len(told(view, "run"))


def test_a_replay_shows_the_runs_that_are_asked_for_and_one_picture_where_that_is_enough():
    view = RaceView.replay("race", seeds=1, only=lambda run: run.config.learning_rate in (1e-5, 5e-3))
    assert [piece["name"] for piece in told(view, "run")] == ["1e-5", "5e-3"]
    assert {len(piece["images"]) for piece in told(view, "pictures")} == {1}
    with pytest.raises(LabError, match="no runs"):
        RaceView.replay("race", only=lambda run: False)


def test_a_set_that_is_cut_or_not_there_is_one_sentence(tmp_path, monkeypatch):
    whole = (settings.data_dir() / "runs" / "presets.zip").read_bytes()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "presets.zip").write_bytes(whole[:len(whole) // 2])
    monkeypatch.setattr(settings, "data_dir", lambda: tmp_path)
    with pytest.raises(LabError, match=r"presets.zip is damaged"):
        RaceView.replay("presets")
    assert isinstance(or_note(RaceView.replay, "nowhere"), Note)
    with pytest.raises(LabError, match="no runs"):
        RaceView([])


def test_pictures_that_are_damaged_are_left_out_with_a_sentence(tmp_path):
    run, path = made_run(), tmp_path / "000030.webp"
    path.write_bytes(b"RIFF")
    run.samples[1] = dataclasses.replace(run.samples[1], images=None, paths=(path, path))
    view = RaceView([run])
    assert [piece["step"] for piece in told(view, "pictures")] == [0, 200]
    assert "000030.webp cannot be read" in view.sentence


class Recorder:
    """Stand for a widget: keep what is sent."""

    def __init__(self):
        self.messages = []

    def send(self, message, buffers):
        self.messages.append((message, buffers))


@pytest.fixture
def growing(monkeypatch):
    """Give a race of two runs that train, the function that feeds it, and what its widget was sent."""
    monkeypatch.setattr(race_view, "SENT_S", 0.0)
    configs = {f"{k:016x}": RunConfig(learning_rate=10.0 ** -k, max_train_steps=4).resolved(8) for k in (2, 3)}
    builders = {name: RunBuilder(name, config) for name, config in configs.items()}
    view = RaceView.live(builders)
    view.__dict__["widget"] = recorder = Recorder()
    view._sent = len(view.data.pieces)

    def feed(event):
        builders[event.run_id].add(event)
        view.append([event])

    return view, feed, recorder.messages, list(builders)


def test_what_trains_is_appended_and_never_sent_again(growing):
    view, feed, messages, names = growing
    begun = len(view.data.pieces)
    for step in range(5):
        for name in names:
            if step:
                feed(Step(name, step, 4 * step, 0.2, 1e-3, 1.0, 0.01))
            feed(validation(step, 0.2 - 0.01 * step, run=name))
            feed(Sample(name, step, 4 * step, np.zeros((2, 8, 8, 3), np.uint8), ("a", "b"), (0, 1), 3.0))
    for name in names:
        feed(Stopped(name, 4, 16, "finished"))
    view.end()
    sent = [piece for message, _ in messages for piece in message["pieces"]]
    assert [message["first"] for message, _ in messages] == list(np.cumsum([begun, *(
        len(message["pieces"]) for message, _ in messages[:-1])]))
    assert len(sent) == len(view.data.pieces) - begun
    assert sum(len(buffers) for _, buffers in messages) == 20 == sum(piece.get("images", 0) for piece in sent)
    keys = [(piece["run"], piece["at"][0]) for piece in sent if piece["kind"] == "loss"]
    assert len(keys) == len(set(keys)) == 10
    assert [piece["step"] for piece in sent if piece["kind"] == "progress"] == [0, 1, 2, 3, 4]
    assert [piece["prompts"] for piece in view.data.pieces if "prompts" in piece] == [[], ["a", "b"]]
    origins = [piece["origin"] for piece in view.data.pieces if "origin" in piece]
    assert origins == ["trained here", "live", "trained here"]
    assert all(piece["end"] == 4 for piece in told(view, "verdict")[-2:])


def test_runs_of_several_seeds_all_grow_and_a_race_that_was_stopped_at_once_still_shows_itself():
    configs = {f"{seed:016x}": RunConfig(seed=seed, max_train_steps=4).resolved(8) for seed in range(3)}
    view = RaceView.live({name: RunBuilder(name, config) for name, config in configs.items()})
    view.end()
    assert [piece["name"] for piece in told(view, "run")] == ["0", "1", "2"]
    assert "<img" in view.page() and repr(view).startswith("A race over seed, trained here.")


def test_messages_wait_for_each_other_so_that_a_page_is_not_flooded(growing, monkeypatch):
    view, feed, messages, names = growing
    monkeypatch.setattr(race_view, "SENT_S", 1e9)
    for step in range(1, 5):
        feed(Step(names[0], step, 4 * step, 0.2, 1e-3, 1.0, 0.01))
    assert not messages
    view.end()
    assert len(messages) == 1


def test_a_widget_holds_all_that_was_told_and_answers_a_page_that_missed_some():
    pytest.importorskip("anywidget")
    view = RaceView(made_race())
    state = view.widget.get_state()
    assert state["pieces"] == view.data.pieces and "export default" in state["_esm"]
    answers = []
    view.widget.send = lambda message, buffers: answers.append((message, buffers))
    view.widget._handle_custom_msg({"missed": 3}, [])
    [(message, buffers)] = answers
    assert message["first"] == 3 and len(message["pieces"]) == len(view.data.pieces) - 3
    assert len(buffers) == sum(len(piece["images"]) for piece in told(view, "pictures"))


def test_without_anywidget_a_race_still_shows_itself_and_its_widget_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    race_view._widget_class.cache_clear()
    view = RaceView(made_race())
    with pytest.raises(LabError, match="pip install anywidget"):
        _ = view.widget
    assert "text/html" in view._repr_mimebundle_()[0]
    race_view._widget_class.cache_clear()


def test_a_notebook_keeps_a_page_that_plays_a_figure_and_words():
    view = RaceView(made_race())
    data, look = view._repr_mimebundle_()
    assert set(data) == {"text/html", "image/jpeg", "text/plain"}
    assert base64.b64decode(data["image/jpeg"])[:3] == b"\xff\xd8\xff" and look["image/jpeg"]["alt"]
    assert re.match(r"A race over learning_rate, trained here\..*\n\n.*stagnating", data["text/plain"], re.DOTALL)
    still = re.sub(r"<(style|script)>.*?</\1>", "", data["text/html"], flags=re.DOTALL)
    assert 'alt="3e-5: stagnating' in still and "<table>" in still and "1e-3 ends lowest" in still
    assert instead.RACE in still and still.index(instead.RACE) < still.index("<img")
    assert not re.search(r"https?://(?!www\.w3\.org)", data["text/html"])    # nothing is fetched


def test_runs_that_differ_in_several_fields_keep_their_pictures_and_the_names_they_were_given():
    pair = [made_run(rank=4, learning_rate=1e-3), made_run(rank=64, learning_rate=3e-4)]
    view = RaceView(reversed(pair), label=lambda run: f"rank {run.config.rank}")
    figure = view.figure()
    assert figure.photographic and len(figure.axes) == 2
    names, words = [view.data.label(run) for run in view.runs], [text.get_text() for text in figure.findobj(Text)]
    assert [word for word in words if word in names] == names and "rank 64" in names
    assert figure.axes[0].get_title("left").startswith("2 designs:")


def test_words_of_a_run_cannot_end_the_script_that_they_lie_in():
    run = made_run()
    run.samples[0] = dataclasses.replace(run.samples[0], prompts=("</script><img src=x>", "a maze"))
    assert RaceView([run]).page().count("</script>") == 1


@pytest.mark.parametrize(("paper", "words", "is_dark"), [("#ffffff", "#1f1f1f", False), ("#1e1e1e", "#e8e8e8", True)])
def test_names_of_runs_are_readable_in_light_and_dark(paper, words, is_dark):
    style = (race_view.HERE / "race_view.css").read_text("utf-8")
    ink, on_dark = (int(re.search(pattern, style)[1]) / 100 for pattern in (
        r"--ink: color-mix\(in srgb, var\(--own\) (\d+)%, var\(--fg\)", r"var\(--color\) (\d+)%, white"))
    for piece in told(RaceView(made_race()), "run"):
        own = np.array(rgb(piece["color"]))
        own = own * on_dark + 255 * (1 - on_dark) if is_dark else own
        lights = sorted(map(luminance, (own * ink + np.array(rgb(words)) * (1 - ink), rgb(paper))))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5


def test_the_script_is_one_piece_and_its_files_are_short():
    assert not re.search(r"^(import|export) ", script(), flags=re.MULTILINE)
    assert script("race_told", "race_widget").count("export default {") == 1
    for path in race_view.HERE.glob("[rp]a*.*s*"):
        lines = path.read_text("utf-8").splitlines()
        assert len(lines) <= 350 and max(map(len, lines)) <= 119, path
