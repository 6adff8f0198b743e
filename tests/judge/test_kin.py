"""A run that begins from an adapter's file is judged beside those that begin from it too, and no others."""

from made_runs import made_run

from labkit.judge.diagnose import diagnose
from labkit.judge.findings import findings

ONE, OTHER = "/a.safetensors@0123456789abcdef", "/b.safetensors@fedcba9876543210"


def test_what_a_fresh_run_gained_is_not_held_against_one_that_began_from_a_file():
    slow, fresh = made_run("stagnating", init_lora_weights=ONE), made_run("healthy", seed=1)
    alone = diagnose(slow)
    assert diagnose(slow, [fresh]).evidence == alone.evidence
    assert diagnose(slow, [made_run("healthy", seed=1, init_lora_weights=OTHER)]).evidence == alone.evidence
    moved = ONE.replace("/a", "/elsewhere/a")
    assert diagnose(slow, [made_run("healthy", seed=1, init_lora_weights=moved)]).evidence != alone.evidence


def test_the_families_of_a_listing_keep_them_apart():
    runs = [made_run("healthy", seed=seed, init_lora_weights=begun)
            for seed, begun in enumerate(("default", "gaussian", ONE, OTHER))]
    families = [findings(run).family for run in runs]
    assert families[0] == families[1] and len(set(families)) == 3
