"""What vkit export writes: transformers and peft load it, and compute what the trained model computes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from tests.tiny_checkpoints import write_checkpoint
from tests.training_data import write_pairs
from vkit.cli.export import command
from vkit.errors import VkitError
from vkit.models.loading import load_model
from vkit.train import loop, stages
from vkit.train.data import open_examples
from vkit.train.export import export
from vkit.train.recipes import SftRecipe

pytestmark = pytest.mark.usefixtures("one_thread")
FULL = SftRecipe(lr=1e-2, batch_size=4, micro_batch_size=0, max_steps=4)
LORA = replace(FULL, lora_rank=2, lora_alpha=8, train=("language_model",))
BOTH = replace(LORA, train=("connector", "language_model"))


class Killed(BaseException):
    """Stands for a signal."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Unfinished runs of three recipes on two families, with the models as they were at step 2."""
    folder = tmp_path_factory.mktemp("export")
    pairs = write_pairs(folder, 6)
    write_checkpoint("llava", folder / "llava")
    models = {}
    one_step = loop._Run.one_step

    def dying(self, tell):
        if self.step == 2:
            raise Killed
        return one_step(self, tell)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Run, "one_step", dying)
        for base in (str(folder / "llava"), "tiny-random"):
            for name, recipe in (("full", FULL), ("lora", LORA), ("both", BOTH)):
                model = load_model(base, device="cpu", dtype="float32")
                task = stages.make_task(model, open_examples([pairs], recipe), recipe)
                family = "tiny" if base == "tiny-random" else "llava"
                with pytest.raises(Killed):
                    loop.train(task, recipe, folder / f"{family}-{name}", checkpoint_every=1)
                models[family, name] = model
                model.model.eval()
    return folder, models


def inputs(model):
    """A question with no picture, encoded."""
    from vkit.models.protocol import Request, Text

    return model.encode([Request("one", (Text("Find x = 3.", question=True),))]).inputs


def logits(model):
    with torch.no_grad():
        return model.model(**inputs(model)).logits


def base_of(folder, family):
    return "tiny-random" if family == "tiny" else str(folder / "llava")


@pytest.mark.parametrize("recipe", ["full", "lora", "both"])
@pytest.mark.parametrize("family", ["llava", "tiny"])
def test_a_whole_model_comes_out_of_a_checkpoint(runs, tmp_path, family, recipe):
    folder, models = runs
    trained = models[family, recipe]
    run = folder / f"{family}-{recipe}"
    assert (
        export(base_of(folder, family), tmp_path / "out", checkpoint=run / "checkpoints/step-00000002") == []
    )
    again = load_model(tmp_path / "out", device="cpu")
    assert not again.random_weights
    expected = logits(trained)
    assert (logits(load_model(base_of(folder, family), device="cpu")) - expected).abs().max() > 1e-3
    if recipe == "full":
        assert torch.equal(logits(again), expected)
    torch.testing.assert_close(logits(again), expected, rtol=1e-4, atol=1e-4)
    if family == "llava":
        plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
        with torch.no_grad():
            torch.testing.assert_close(plain(**inputs(trained)).logits, expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_alone_comes_out_of_a_lora_runs_last_checkpoint(runs, tmp_path):
    folder, models = runs
    base, trained = str(folder / "llava"), models["llava", "lora"]
    assert export(base, tmp_path / "lora", checkpoint=folder / "llava-lora", what="adapter") == []
    expected = logits(trained)
    tuned = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), tmp_path / "lora")
    with torch.no_grad():
        torch.testing.assert_close(tuned(**inputs(trained)).logits, expected, rtol=1e-5, atol=1e-5)
    export(base, tmp_path / "merged", adapter=tmp_path / "lora")
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    with torch.no_grad():
        torch.testing.assert_close(plain(**inputs(trained)).logits, expected, rtol=1e-4, atol=1e-4)


def test_a_tinyllava_adapter_is_one_of_its_language_model(runs, tmp_path):
    folder, models = runs
    export("tiny-random", tmp_path / "lora", checkpoint=folder / "tiny-lora", what="adapter")
    again = load_model("tiny-random", adapter=tmp_path / "lora", device="cpu")
    torch.testing.assert_close(logits(again), logits(models["tiny", "lora"]), rtol=1e-4, atol=1e-4)
    plain = load_model("tiny-random", device="cpu")
    PeftModel.from_pretrained(plain.model.language_model, tmp_path / "lora")  # into its layers
    torch.testing.assert_close(logits(plain), logits(models["tiny", "lora"]), rtol=1e-4, atol=1e-4)


def test_what_an_adapter_leaves_out_is_told(runs, tmp_path):
    folder, _ = runs
    options = ["--model", base_of(folder, "llava"), "--checkpoint", str(folder / "llava-both")]
    result = CliRunner().invoke(command, [*options, "--as", "adapter", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "the run trains the connector too, which no adapter holds; --as model has it" in result.stderr
    assert result.stdout == f"{tmp_path / 'out'}\n"


def test_weights_are_written_in_the_precision_that_is_asked_for(runs, tmp_path):
    folder, _ = runs
    for number, more in enumerate(({}, {"checkpoint": folder / "llava-lora"})):
        out = tmp_path / str(number)
        export(str(folder / "llava"), out, dtype="bfloat16", **more)
        assert {t.dtype for t in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
        assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"


def test_an_adapter_is_merged_before_weights_are_rounded(runs, tmp_path):
    """Half the precision would swallow a small update: both ways to the same model come to the same bits."""
    folder, _ = runs
    base, run = str(folder / "llava"), folder / "llava-lora"
    export(base, tmp_path / "lora", checkpoint=run, what="adapter")
    export(base, tmp_path / "one", checkpoint=run, dtype="bfloat16")
    export(base, tmp_path / "other", adapter=tmp_path / "lora", dtype="bfloat16")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "other"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert json.loads((tmp_path / "other" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_checkpoint_and_an_empty_folder_may_be_named_from_where_one_stands(runs, tmp_path, monkeypatch):
    folder, _ = runs
    monkeypatch.chdir(folder / "tiny-full" / "checkpoints")
    export("tiny-random", tmp_path / "one", checkpoint=Path("step-00000002"))
    monkeypatch.chdir("step-00000002")
    export("tiny-random", tmp_path / "two", checkpoint=Path())
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "here")
    for out in (Path(), tmp_path / "link"):
        export("tiny-random", out, checkpoint=folder / "tiny-full")
    expected = load_file(tmp_path / "one" / "model.safetensors")
    for name in ("two", "here", "elsewhere"):
        found = load_file(tmp_path / name / "model.safetensors")
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "here", "link", "one", "two"]


def test_an_export_is_complete_or_absent(runs, tmp_path, monkeypatch):
    folder, _ = runs

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("vkit.train.checkpoint._sync", die)
        with pytest.raises(Killed):
            export("tiny-random", tmp_path / "out", checkpoint=folder / "tiny-full")
    assert list(tmp_path.iterdir()) == []
    export("tiny-random", tmp_path / "out", checkpoint=folder / "tiny-full")
    with pytest.raises(VkitError, match="out exists already; choose another --out"):
        export("tiny-random", tmp_path / "out", checkpoint=folder / "tiny-full")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("tiny", {"checkpoint": "tiny-full"}, "began with other weights than 'tiny'; give that model"),
        ("tiny-random", {"checkpoint": "tiny-full", "what": "adapter"}, "trained whole weights, no adapter"),
        ("tiny-random", {"checkpoint": "llava"}, "is no checkpoint, and no run that has one"),
        ("tiny-random", {"what": "adapter"}, "is exported from a checkpoint of a LoRA run"),
        ("tiny-random", {"checkpoint": "tiny-full", "adapter": "tiny-full"}, "give one of them"),
    ],
)
def test_what_does_not_fit_is_refused(runs, tmp_path, model, options, message):
    folder, _ = runs
    paths = {name: value if name == "what" else folder / value for name, value in options.items()}
    with pytest.raises(VkitError, match=message):
        export(model, tmp_path / "out", **paths)
    assert not (tmp_path / "out").exists()


def test_a_finished_run_points_to_its_model(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(VkitError, match=r"is a finished run; export .*model, by --model alone"):
        export("tiny-random", tmp_path / "out", checkpoint=tmp_path)
