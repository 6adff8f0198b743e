"""Every figure: what its axes are called, what is drawn, and that no two of its words touch."""

import io

import numpy as np
import pytest
from figures import assert_bands_are_whole, assert_words_keep_apart
from made_runs import MEANS, PROMPTS, STEPS, made_race, made_run, made_seeds, scored_race
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from labkit.design.config import RunConfig
from labkit.design.schedules import rates
from labkit.judge.diagnose import diagnose
from labkit.text import rate_text
from labkit.view import by_rate, curves, pictures
from labkit.view.pictures import mosaic, plot_beside
from labkit.view.style import LINES, MARKERS, PINNED, STYLE, VERDICTS, LabFigure, direct_labels, new_axes, spread


def schedules():
    names = ("constant", "linear", "cosine", "exponential", "three_phase")
    return [RunConfig(lr_scheduler=name).resolved(96) for name in names]


FIGURES = {
    "validation": lambda: curves.plot_validation(made_run()).figure,
    "validation of an overfitting run": lambda: curves.plot_validation(made_run("overfitting")).figure,
    "validation beside a pinned run":
        lambda: curves.plot_validation(made_run(), pinned=made_run("diverged"), raw=True).figure,
    "validation beyond the finite": lambda: curves.plot_validation(made_run("blown up")).figure,
    "validation of a run just begun": lambda: curves.plot_validation(made_run(upto=2), raw=True).figure,
    "curves": lambda: curves.plot_curves(made_race()).figure,
    "curves of runs nobody can judge, with long names": lambda: curves.plot_curves(
        [made_run(rank=rank, upto=2) for rank in (1, 4)], label=lambda run: "sixteen, rate doubled").figure,
    "validation of another rank than the pinned run's": lambda: curves.plot_validation(
        made_run(rank=64, lr_scheduler="three_phase"), pinned=made_run()).figure,
    "race": lambda: pictures.plot_race(made_race()),
    "race with scores": lambda: pictures.plot_race(scored_race()),
    "race without pictures": lambda: pictures.plot_race(made_race(pictures=False)),
    "U-curve": lambda: by_rate.plot_u_curve(made_seeds()).figure,
    "U-curve of one seed": lambda: by_rate.plot_u_curve(made_race()).figure,
    "schedules": lambda: curves.plot_schedules(schedules()).figure,
    "samples": lambda: pictures.plot_samples(made_run()),
    "comparison": lambda: pictures.plot_comparison(made_race()[:2]),
    "loss of single steps": lambda: curves.plot_step_loss(made_run()).figure,
    "loss by timestep": lambda: curves.plot_loss_by_timestep(made_run()).figure,
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_two_words_of_a_figure_touch_and_none_leaves_it(name):
    assert_words_keep_apart(FIGURES[name]())


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("samples", "comparison")])
def test_every_axis_is_named_with_its_unit(name):
    ax = FIGURES[name]().axes[0]
    assert ax.get_xlabel() and ax.get_ylabel()
    if "schedules" not in name:
        assert "squared error" in ax.get_ylabel()


def test_a_plot_draws_on_given_axes_and_returns_them():
    ax = Figure().add_subplot()
    assert curves.plot_validation(made_run(), ax) is ax
    assert by_rate.plot_u_curve(made_race(), Figure().add_subplot()).lines


def test_the_title_is_the_verdict_and_its_evidence_the_alternative_text():
    ax = curves.plot_validation(made_run("diverged", learning_rate=3e-2))
    assert "diverged" in ax.get_title("left") and "3e-2" in ax.get_title("left")
    assert ax.figure.summary.startswith("diverged: Far too fast")


def test_runs_are_named_by_the_fields_that_are_asked_for():
    run = made_run("healthy", learning_rate=3e-3, rank=8, alpha=4)
    ax = curves.plot_curves([run], label=("scaling", "learning_rate"))
    assert ax.figure.summary == "scaling 0.5,\nrate 3e-3: healthy"


def test_validation_and_probe_are_drawn_with_different_lines_and_labelled_at_their_ends():
    ax = curves.plot_validation(made_run("overfitting"))
    validation, probe = ax.lines[:2]
    assert validation.get_linestyle() != probe.get_linestyle() and validation.get_marker() != probe.get_marker()
    assert np.allclose(validation.get_ydata(), MEANS["overfitting"], atol=2e-3)
    assert list(validation.get_xdata()) == list(STEPS)
    words = [text.get_text() for text in ax.texts]
    for beginning in ("held-out pictures 0.1", "training pictures"):
        assert any(text.startswith(beginning) for text in words)


def test_the_band_is_that_of_the_change_so_it_has_no_width_at_step_0():
    band = curves.plot_validation(made_run(), names=("validation",)).collections[0].get_paths()[0].vertices
    widths = [np.ptp(band[band[:, 0] == step, 1]) for step in STEPS]
    assert widths[0] == 0 and all(width > 0 for width in widths[1:])


@pytest.mark.parametrize("name", [
    "validation", "validation of an overfitting run", "curves", "race", "U-curve", "loss of single steps",
])
def test_no_interval_is_cut_at_the_axes(name):
    assert_bands_are_whole(FIGURES[name]())


def test_a_run_that_left_the_figure_leaves_no_band_in_it():
    assert len(curves.plot_curves(made_race()).collections) == 3       # of five runs, two of which diverged


def test_a_pinned_run_is_named_by_what_sets_it_apart():
    rank = curves.plot_validation(made_run(rank=64), pinned=made_run())
    assert any(text.get_text().replace("\n", " ").endswith("rank 8") for text in rank.texts)
    assert rank.get_title("left") == "● healthy: rank 64"
    seeds = curves.plot_validation(made_run(seed=1), pinned=made_run())
    assert any("seed 0" in text.get_text() for text in seeds.texts)
    both = curves.plot_validation(made_run(learning_rate=1e-2, max_train_steps=500), pinned=made_run())
    assert any("learning rate 1e-3, 200 updates" in text.get_text().replace("\n", " ") for text in both.texts)
    assert curves.plot_validation(made_run()).get_title("left") == "● healthy: learning rate 1e-3"


def test_a_pinned_run_has_one_marker_and_one_colour_in_curves_and_pictures_and_no_verdict_has_them():
    run, pinned = made_run("overshooting", learning_rate=1e-2), made_run()
    marker, color = PINNED
    lines = curves.plot_validation(run, pinned=pinned).lines
    assert any((line.get_marker(), line.get_color()) == PINNED for line in lines)
    rows = plot_beside(run, diagnose(run), pinned).axes[0].lines
    assert [(line.get_marker(), line.get_color()) for line in rows] == [("o", VERDICTS["overshooting"][1]), PINNED]
    for _, other in [*VERDICTS.values(), ("", STYLE["text"]), ("", STYLE["faint"])]:
        assert min(np.linalg.norm(lab_color(color, sees) - lab_color(other, sees)) for sees in SIGHTS) > 25, other


# What eyes without the middle (deuteranopia) or the long cones (protanopia) make of linear RGB: Machado et al. 2009,
# severity 1.
DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                         [-0.011820, 0.042940, 0.968881]])
PROTANOPIA = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                       [-0.003882, -0.048116, 1.051998]])
SIGHTS = (np.eye(3), DEUTERANOPIA, PROTANOPIA)
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])   # of linear sRGB


def lab_color(color, sees):
    """Return CIELAB of a hexadecimal sRGB colour, where a distance of 2 is just seen."""
    parts = np.array([int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = sees @ np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ linear / (0.9505, 1, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_every_run_of_a_race_has_its_own_marker_and_label():
    ax = curves.plot_curves(made_race())
    lines = [line for line in ax.lines if len(line.get_xdata()) == len(STEPS)]
    assert len({line.get_marker() for line in lines}) == len({line.get_color() for line in lines}) == 5
    upwards = sorted(ax.texts, key=lambda text: text.xyann[1])
    assert [text.get_text().split()[0] for text in upwards][-2:] == ["3e-2", "3e-1"]


def test_a_diverged_run_leaves_the_figure_and_does_not_flatten_the_others():
    race = made_race()
    ax = curves.plot_curves(race)
    others = np.concatenate([run.validations["validation"].means for run in race[:3]])
    gone = race[3].validations["validation"].means[-1]
    assert ax.get_yscale() == "linear" and others.max() < ax.get_ylim()[1] < gone
    assert np.ptp(others) > 0.5 * np.ptp(ax.get_ylim())
    assert [text.get_text().split()[0] for text in ax.texts if "↑" in text.get_text()] == ["3e-2", "3e-1"]
    assert curves.plot_curves(race[3:]).get_ylim()[1] > gone    # where all have diverged, they are what is shown


def test_a_run_that_rises_far_and_comes_back_does_not_flatten_the_others():
    spiked = made_run("overshooting", learning_rate=2e-2)
    spiked.validations["validation"].losses[3] *= 20
    ax = curves.plot_curves([made_run("stagnating", learning_rate=1e-5), made_run(learning_rate=1e-3), spiked])
    *others, broken = [line.get_ydata() for line in ax.lines if len(line.get_ydata())]
    assert np.ptp(others) > 0.2 * np.ptp(ax.get_ylim()) and max(broken) > ax.get_ylim()[1]


def test_a_loss_that_is_no_number_is_marked_not_hidden():
    ax = curves.plot_validation(made_run("blown up"))
    marks = [line for line in ax.lines if line.get_marker() == "X"]
    broken = [step for step, mean in zip(STEPS, MEANS["blown up"], strict=True) if np.isnan(mean)]
    assert any(list(line.get_xdata()) == broken for line in marks)
    assert any("not finite" in text.get_text() for text in ax.texts)


def test_the_race_shows_the_same_seeds_at_the_same_steps_in_every_row():
    race = made_race()
    figure = pictures.plot_race(reversed(race))
    assert figure.photographic and len(figure.axes) == 2
    words = [text.get_text() for text in figure.findobj(Text)]
    assert words.count("step 30") == words.count("base") == 2
    rates = ["3e-5", "1e-3", "1e-2", "3e-2", "3e-1"]
    assert [word for word in words if word in rates] == rates
    assert any(word.startswith("a still indoor") for word in words)


def test_a_race_shows_the_start_the_end_and_one_moment_between():
    race = made_race()
    layout = pictures.Comparison(race, is_brief=True)
    assert layout.steps == [0, 30, 200] and layout.side > pictures.Comparison(race).side
    assert pictures.Comparison(race[:1], is_brief=True).columns == 3


@pytest.mark.parametrize("name, values, words", [
    ("rank", (4, 8), "2 ranks"), ("target_modules", (("all",), ("attention",)), "2 sets of layers"),
    ("n_train", (4, 8), "2 numbers of pictures")])
def test_a_race_is_titled_with_the_plural_of_its_field(name, values, words):
    figure = pictures.plot_race([made_run(**{name: value}) for value in values], name)
    assert figure.axes[0].get_title("left").startswith(f"One design at {words}:")


def test_a_race_whose_runs_differ_in_more_than_its_field_is_no_race_of_one_design():
    runs = [made_run(rank=rank, learning_rate=rate) for rank, rate in ((4, 1e-3), (16, 5e-4))]
    assert pictures.plot_race(runs, "rank").axes[0].get_title("left").startswith("2 designs:")


def test_a_schedule_is_drawn_as_it_is_applied():
    config = RunConfig(lr_scheduler="cosine", lr_warmup_steps=20, lr_edits=((120, 8e-4),)).resolved(96)
    assert list(curves.plot_schedules([config]).lines[0].get_ydata()) == rates(config)


def test_the_share_that_the_timestep_explains_is_said():
    assert "explains" in curves.plot_loss_by_timestep(made_run()).get_title("left")


def test_pictures_come_in_the_order_of_prompts_and_steps():
    one, two, three = (np.full((8, 8, 3), value, np.uint8) for value in (1, 2, 3))
    pixels, xs, ys = mosaic([[one, two], [None, three]], [1])
    assert [pixels[int(y), int(x), 0] for y in ys for x in xs] == [1, 2, 255, 3]
    assert np.diff(mosaic([[one], [two]], row_gap=12)[2]) == 8 + 12
    assert [text.get_text() for text in pictures.plot_samples(made_run()).texts] == list(PROMPTS)


def test_a_figure_shows_itself_in_a_notebook_with_a_text_for_those_who_cannot_see_it():
    ax = curves.plot_validation(made_run())
    for data, about in (ax._repr_png_(), ax.figure._repr_png_()):
        assert Image.open(io.BytesIO(data)).format == "PNG" and about["alt"].startswith("healthy")
    race = pictures.plot_race(made_race())
    data, about = race._repr_jpeg_()
    assert race._repr_png_() is None and Image.open(io.BytesIO(data)).format == "JPEG"
    assert "3e-2: diverged" in about["alt"]
    assert len(data) < 400_000


def test_a_label_too_long_for_its_room_is_broken_between_words_and_measured_as_it_is_drawn():
    from labkit.view.text_fit import fitted, text_size

    assert fitted("1e-3  ● healthy", 100, 9) == "1e-3  ● healthy"
    long = "sixteen, rate doubled  ? not enough evidence"
    assert fitted(long, 104, 9) == "sixteen, rate doubled\n? not enough\nevidence"
    figure = LabFigure()
    for words in ("? not enough evidence", "held-out pictures 0.131", "learning rate 1.4e-2, seed 2", "0.75, 1"):
        extent = figure.text(0, 0.5, words, fontsize=9).get_window_extent(figure._get_renderer())
        drawn = extent.width * 72 / STYLE["dpi"]
        assert drawn <= text_size(words, 9)[0] < 1.1 * drawn, words


def test_labels_are_pushed_apart_and_stay_in_order():
    placed = spread([0.1, 0.5, 0.5, 0.52, 0.99], [0.1] * 5)
    assert placed == sorted(placed) and min(np.diff(placed)) > 0.0999
    assert spread([0.2, 0.8], [0.1, 0.1]) == pytest.approx([0.2, 0.8])
    ax = new_axes()
    direct_labels(ax, [(0.5, "one", "k"), (0.5, "two", "k")])
    assert len({text.xyann[1] for text in ax.texts}) == 2


@pytest.mark.parametrize("rate, words", [
    (1e-3, "1e-3"), (3e-5, "3e-5"), (1.5e-3, "1.5e-3"), (1.0, "1e0"), (0, "0"), (0.00025, "2.5e-4"),
])
def test_rates_are_written_as_people_say_them(rate, words):
    assert rate_text(rate) == words


def test_nothing_is_told_by_colour_alone():
    symbols = [symbol for symbol, _ in VERDICTS.values()]
    assert len(set(symbols)) == len(symbols) and len(set(MARKERS)) == len(MARKERS) >= 10 and len(LINES) > 3


def test_words_are_dark_enough_on_white():
    for color in [STYLE["text"], STYLE["faint"], *(color for _, color in VERDICTS.values())]:
        red, green, blue = (int(color[i:i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
        assert 1.05 / (np.dot(linear, (0.2126, 0.7152, 0.0722)) + 0.05) >= 4.5, color   # WCAG 2.1, level AA


def test_figures_are_as_wide_as_a_notebook():
    for name in ("validation", "race", "samples", "schedules"):
        figure = FIGURES[name]()
        assert isinstance(figure, LabFigure) and figure.get_figwidth() <= STYLE["width"]
