"""What varied runs show of each setting is said in one sentence each, seeds together, whatever else differs."""

from made_runs import made_race, made_run, made_seeds

from labkit.cli.report import entry
from labkit.judge.what_holds import what_holds


def entries(runs):
    return [entry(run, siblings=runs) for run in runs]


def test_a_race_over_rates_says_where_it_crawls_learns_and_breaks():
    assert what_holds(entries(made_race(pictures=False))) == [
        "Learning rate: too slow at 3e-5, healthy at 1e-3, too fast at 1e-2, far too fast at 3e-2 and 3e-1. "
        "The loss on held-out pictures ended lowest at 1e-3."]


def test_seeds_are_told_together_and_a_seed_is_no_setting():
    sentence, = what_holds(entries(made_seeds()))
    assert sentence.startswith("Learning rate: too slow at 3e-5, healthy at 1e-3, too fast at 1e-2, far too fast at")
    assert what_holds(entries([made_run(seed=0), made_run(seed=1)])) == []
    mixed = [made_run("healthy", seed=0), made_run("healthy", seed=1), made_run("diverged", seed=2),
             made_run("diverged", learning_rate=1e-1)]
    assert "healthy in 2 of 3 runs at 1e-3, far too fast at 1e-1." in what_holds(entries(mixed))[0]


def test_settings_that_are_varied_apart_get_a_sentence_each_with_what_else_held():
    runs = [made_run(learning_rate=rate, rank=rank) for rate in (1e-4, 1e-3) for rank in (2, 8, 32)]
    told = what_holds(entries(runs))
    assert [words.split(":")[0] for words in told] == [
        "Rank (learning rate 1e-4)", "Rank (learning rate 1e-3)",
        "Learning rate (rank 2)", "Learning rate (rank 8)", "Learning rate (rank 32)"]
    assert "healthy from 2 to 32" in told[0]


def test_alpha_by_itself_is_a_setting_and_runs_that_differ_twice_are_not_compared():
    alpha = what_holds(entries([made_run(rank=8, alpha=value) for value in (8, 32)]))
    assert [words.split(":")[0] for words in alpha] == ["Alpha"]
    assert what_holds(entries([made_run(rank=8), made_run(rank=8, learning_rate=1e-4, n_train=12)])) == []
    assert what_holds([]) == []
