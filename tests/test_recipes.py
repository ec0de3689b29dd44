"""Recipes hold the papers' values and take others only by their names and types."""

import pytest

from vkit.errors import VkitError
from vkit.train.recipes import RECIPES, SFT_RECIPES, AlignRecipe, SftRecipe, override, read_settings
from vkit.train.stages import with_stage


def test_the_papers_values():
    """Math-PUMA, Experimental Setup, and what its release trains in each stage."""
    one, two, three = (RECIPES["paper"][number] for number in (1, 2, 3))
    assert [r.lr for r in (one, two, three)] == [3e-5, 5e-5, 3e-5]
    assert [r.batch_size for r in (one, two, three)] == [256, 512, 256]
    assert {(r.beta1, r.beta2, r.weight_decay, r.warmup_ratio, r.epochs) for r in (one, two, three)} == {
        (0.9, 0.999, 0.1, 0.02, 1.0)
    }
    assert (two.alpha, two.lam, two.temperature, two.temperature_power) == (0.2, 0.1, 1.0, 2.0)
    assert (one.train, two.train) == (("language_model",), ("vision_tower", "connector"))
    assert len(three.train) == 3


def test_the_released_loss_differs_where_the_release_does():
    paper, released = RECIPES["paper"][2], RECIPES["released"][2]
    changed = {name for name in vars(paper) if getattr(paper, name) != getattr(released, name)}
    assert changed == {"alpha", "standardize", "temperature_power", "kl_per", "shift"}


def test_other_papers_values():
    tey, math_llava = SFT_RECIPES["tey"], SFT_RECIPES["math-llava"]
    assert (tey.lora_rank, tey.lora_alpha, tey.lr, tey.epochs) == (32, 64.0, 2e-5, 3)
    assert (math_llava.lr, math_llava.epochs, math_llava.warmup_ratio, math_llava.weight_decay) == (
        2e-5,
        2,
        0.03,
        0.0,
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"lambda": 1}, "has no 'lambda'"),
        ({"lr": "fast"}, "lr must be a number, not 'fast'"),
        ({"batch_size": "2.5"}, "batch_size must be a whole number"),
        ({"shift": "maybe"}, "shift must be true or false"),
        ({"lr": "nan"}, "lr must be a number"),
        ({"lam": 1.5}, "lam must lie between 0 and 1"),
        ({"lr": 0}, "lr must be above 0"),
        ({"lr": "inf"}, "lr must be a finite number"),
        ({"seed": 1e14}, "seed must lie between 0 and"),
        ({"teacher": "dead"}, "known: live, frozen, ema"),
        ({"train": "vision"}, "train 'vision' is not known"),
        ({"train": ""}, "train names no part"),
        ({"teacher": "frozen", "strong_cross_entropy": "1"}, "the frozen teacher never learns"),
    ],
)
def test_bad_settings_are_refused_in_one_line(values, reason):
    with pytest.raises(VkitError, match=reason):
        override(AlignRecipe(), values)


def test_settings_of_one_stage_and_of_all(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("lr: 1e-4\nlam: 0.5\nstage3:\n  epochs: 2\n  train: [connector]\n")
    found = with_stage(RECIPES["paper"], {**read_settings(path), "stage1.lr": "3e-4"})
    assert [found[number].lr for number in (1, 2, 3)] == [3e-4, 1e-4, 1e-4]
    assert found[2].lam == 0.5
    assert (found[3].epochs, found[3].train) == (2.0, ("connector",))
    assert found[1].epochs == 1.0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"stage4.lr": "1"}, "'stage4', which does not run"),
        ({"alfa": "1"}, "no stage that runs has a setting 'alfa'"),
        ({"stage1.lam": "1"}, "has no 'lam'"),
    ],
)
def test_settings_of_nothing_are_refused(values, reason):
    with pytest.raises(VkitError, match=reason):
        with_stage(RECIPES["paper"], values)


@pytest.mark.parametrize("text", ["- a\n", "a: [", "1: 2\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(VkitError, match=r"r\.yaml"):
        read_settings(tmp_path / "r.yaml")


def test_text_is_read_as_the_fields_type():
    recipe = override(SftRecipe(), {"train": "connector, language_model", "pack_to": "256", "lr": "1e-4"})
    assert (recipe.train, recipe.pack_to, recipe.lr) == (("connector", "language_model"), 256, 1e-4)
    assert override(SftRecipe(), {"gradient_checkpointing": "true"}).gradient_checkpointing is True
