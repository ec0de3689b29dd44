"""`vkit generate`: predictions in the problems' order, whole after any kill, never mixed, ready to score."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.tiny_checkpoints import temporary_folder, write_checkpoint
from tests.training_data import write_tests
from vkit.errors import VkitError
from vkit.evaluate.generation import (
    GenerationSettings,
    build_prompt,
    generate_predictions,
    settings_path,
)
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.loading import load_model
from vkit.models.lora import add_lora, save_adapter
from vkit.models.protocol import Picture
from vkit.models.sampling import Sampling
from vkit.records import Sample, read_samples
from vkit.sources.mathverse import scan_mathverse
from vkit.sources.wemath import scan_wemath
from vkit.synthesis.miniature import draw

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
SETTINGS = GenerationSettings(model="tiny", data="tests", prompt="plain", max_new_tokens=40)
DRAWN = replace(SETTINGS, temperature=2.5, top_p=0.95, seed=7)


@cache
def tiny():
    return load_model("tiny", device="cpu")


@pytest.fixture
def samples(tmp_path):
    """Two problems in five versions each; "text-only" has no picture."""
    return list(read_samples(write_tests(tmp_path, 2)))


def lines_of(path):
    """The lines of a file of predictions, without what differs from run to run."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def predict(samples, path, settings=SETTINGS, *, model=None, **options):
    return generate_predictions(model or tiny(), samples, path, settings, **options)


class Watched:
    """A model that notes the ids of each batch it generates, and may die before one."""

    def __init__(self, model, dies_before=None, error=KeyboardInterrupt):
        self._model, self._dies_before, self._error = model, dies_before, error
        self.batches = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def generate(self, batch, **options):
        if len(self.batches) == self._dies_before:
            raise self._error
        self.batches.append(tuple(batch.ids))
        return self._model.generate(batch, **options)


def test_each_problem_gets_a_line_in_order_with_its_tokens_and_why_it_ended(samples, tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    summary = predict(samples, path, batch_size=4)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == [sample.id for sample in samples]
    for sample, line in zip(samples, lines):
        assert list(line) == ["id", "output", "ids", "tokens", "finish", "seconds", "digest"]
        batch = tiny().encode([build_prompt(sample, "plain")], padding_side="left")
        ids = tiny().generate(batch, max_new_tokens=40)[0]
        assert (line["output"], line["ids"], line["tokens"]) == (tiny().decode(ids), ids, len(ids))
        assert line["finish"] == ("length" if len(ids) == 40 else "stop")
        assert line["seconds"] > 0
    assert summary["items"] == summary["new"] == summary["stop"] + summary["length"] == 10
    assert summary["stop"] > 5
    assert summary["tokens"] == sum(line["tokens"] for line in lines)
    assert summary["tokens_per_second"] == pytest.approx(summary["tokens"] / summary["seconds"], rel=1e-3)


def test_a_cut_output_says_so(samples, tmp_path):
    summary = predict(samples[:1], tmp_path / "out.jsonl", replace(SETTINGS, max_new_tokens=3))
    assert (summary["length"], lines_of(tmp_path / "out.jsonl")[0]["finish"]) == (1, "length")
    assert lines_of(tmp_path / "out.jsonl")[0]["tokens"] == 3


def test_batches_change_nothing(samples, tmp_path):
    for size in (1, 3, 16):
        predict(samples, tmp_path / f"{size}.jsonl", batch_size=size)
    assert lines_of(tmp_path / "1.jsonl") == lines_of(tmp_path / "3.jsonl") == lines_of(tmp_path / "16.jsonl")


def test_a_file_cut_at_any_byte_becomes_what_it_would_have_been(samples, tmp_path):
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    unbroken = Watched(tiny())
    predict(samples, whole, model=unbroken, batch_size=3)
    data, draw_at = whole.read_bytes(), random.Random(5)
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for cut in (0, 1, ends[0] - 1, ends[0], ends[3] + 5, len(data) - 1, draw_at.randrange(len(data))):
        broken.write_bytes(data[:cut])
        settings_path(broken).write_bytes(settings_path(whole).read_bytes())
        again = Watched(tiny())
        predict(samples, broken, model=again, batch_size=3)
        assert lines_of(broken) == lines_of(whole)
        kept = data[:cut].count(b"\n")
        assert broken.read_bytes().startswith(b"".join(data.splitlines(keepends=True)[:kept]))
        # The same batches as in the unbroken run, and none that was done: rounding has nowhere to differ.
        assert again.batches == unbroken.batches[kept // 3 :]


def test_drawn_outputs_are_the_settings_own(samples, tmp_path):
    path = tmp_path / "out.jsonl"
    summary = predict(samples, path, DRAWN, batch_size=4)
    assert (summary["temperature"], summary["top_p"], summary["seed"]) == (2.5, 0.95, 7)
    for sample, line in zip(samples, lines_of(path)):
        batch = tiny().encode([build_prompt(sample, "plain")], padding_side="left")
        ids = tiny().generate(batch, max_new_tokens=40, sampling=Sampling(2.5, top_p=0.95, seed=7))[0]
        assert line["output"] == tiny().decode(ids)
    predict(samples, tmp_path / "greedy.jsonl")
    predict(samples, tmp_path / "other.jsonl", replace(DRAWN, seed=8))
    drawn, greedy, other = (
        [line["output"] for line in lines_of(tmp_path / f"{name}.jsonl")]
        for name in ("out", "greedy", "other")
    )
    for first, second in ((drawn, greedy), (drawn, other), (other, greedy)):
        assert sum(a != b for a, b in zip(first, second)) > 5


def test_drawn_outputs_know_neither_batch_nor_order_nor_kill(samples, tmp_path):
    whole, path = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    predict(samples, whole, DRAWN, batch_size=5)
    expected = {line["id"]: line for line in lines_of(whole)}
    predict(samples[::-1], path, DRAWN, batch_size=3)
    assert {line["id"]: line for line in lines_of(path)} == expected
    data = whole.read_bytes()
    for cut in (0, data.index(b"\n"), len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        settings_path(path).write_bytes(settings_path(whole).read_bytes())
        predict(samples, path, DRAWN, batch_size=5)
        assert lines_of(path) == lines_of(whole)


def test_a_file_of_before_there_was_sampling_was_greedy(samples, tmp_path):
    path = tmp_path / "out.jsonl"
    predict(samples[:1], path)
    place = settings_path(path)
    old = json.loads(place.read_text())
    for name in ("temperature", "top_p", "seed"):
        del old[name]
    place.write_text(json.dumps(old))
    with pytest.raises(VkitError, match=r"temperature 0\.0 -> 2\.5, top_p 1\.0 -> 0\.95, seed 0 -> 7"):
        predict(samples[:2], path, DRAWN)
    assert predict(samples[:2], path)["new"] == 1


def test_an_interrupted_run_keeps_every_batch_that_was_done(samples, tmp_path):
    path = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        predict(samples, path, model=Watched(tiny(), dies_before=2), batch_size=3)
    assert [line["id"] for line in lines_of(path)] == [sample.id for sample in samples[:6]]
    told = []
    summary = predict(samples, path, batch_size=3, on_line=lambda line, new: told.append((line["id"], new)))
    assert told == [(sample.id, number >= 6) for number, sample in enumerate(samples)]
    assert (summary["items"], summary["new"]) == (10, 4)


def start(arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vkit.cli.main", "generate", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_kill_9_and_the_same_command_give_what_an_unbroken_run_gives(vkit, tmp_path):
    problems = write_tests(tmp_path, 6)
    options = ("--model", "tiny-random", "--data", problems, "--max-new-tokens", 60, "--batch-size", 2)
    broken, whole = tmp_path / "broken.jsonl", tmp_path / "whole.jsonl"
    process = start((*options, "--out", broken))
    end = time.monotonic() + 60
    while process.poll() is None and (not broken.exists() or broken.read_bytes().count(b"\n") < 6):
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    _, stderr = process.communicate()
    before = broken.read_bytes()
    assert process.returncode == -signal.SIGKILL, stderr
    assert 6 <= before.count(b"\n") < 30
    assert vkit("generate", *options, "--out", broken)[0] == 0
    assert vkit("generate", *options, "--out", whole)[0] == 0
    assert broken.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert lines_of(broken) == lines_of(whole)
    assert len(lines_of(whole)) == 30


def test_ctrl_c_says_that_the_same_command_goes_on(vkit, tmp_path, monkeypatch):
    problems, out = write_tests(tmp_path, 1), tmp_path / "out.jsonl"
    dying = Watched(tiny(), dies_before=1)
    monkeypatch.setattr("vkit.models.loading.load_model", lambda *a, **o: dying)
    code, stdout, stderr = vkit(
        "generate",
        "--model",
        "tiny",
        "--data",
        problems,
        "--prompt",
        "plain",
        "--batch-size",
        2,
        "--out",
        out,
    )
    assert (code, stdout, len(lines_of(out))) == (130, "", 2)
    assert (
        stderr.splitlines()[-1] == f"stopped; what is in {out} is kept, the same command goes on from there"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": "direct"}, "prompt 'plain' -> 'direct'"),
        ({"max_new_tokens": 9}, "max_new_tokens 40 -> 9"),
        ({"temperature": 0.7}, "temperature 0.0 -> 0.7"),
        ({"model": "tiny-random"}, "model 'tiny' -> 'tiny-random'"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_touched(samples, tmp_path, change, said):
    path = tmp_path / "out.jsonl"
    predict(samples[:2], path)
    before = path.read_bytes(), settings_path(path).read_bytes()
    with pytest.raises(VkitError, match=said):
        predict(samples, path, replace(SETTINGS, **change))
    assert (path.read_bytes(), settings_path(path).read_bytes()) == before


def test_other_weights_under_the_same_name_are_refused(samples, tmp_path):
    path = tmp_path / "out.jsonl"
    predict(samples[:2], path)
    with pytest.raises(VkitError, match=r"other settings \(weights"):
        predict(samples, path, model=load_model("tiny-random", device="cpu"))


def test_auto_precision_is_kept_as_what_it_came_to(samples, tmp_path):
    path = tmp_path / "out.jsonl"
    assert predict(samples[:1], path)["weights_dtype"] == "float32"
    with pytest.raises(VkitError, match="weights_dtype 'float32' -> 'bfloat16'"):
        predict(samples, path, model=load_model("tiny", device="cpu", dtype="bfloat16"))


def test_a_changed_record_is_refused_but_a_corrected_answer_is_not(samples, tmp_path):
    path = tmp_path / "out.jsonl"
    predict(samples[:2], path)
    corrected = [replace(sample, answer="0", rationale=None) for sample in samples[:2]]
    assert predict(corrected, path)["new"] == 0
    asked_otherwise = replace(samples[1], question="Find y.")
    with pytest.raises(VkitError, match=f"record '{samples[1].id}' changed since it was answered in "):
        predict([samples[0], asked_otherwise], path)
    (samples[1].folder / samples[1].image).write_bytes((samples[4].folder / samples[4].image).read_bytes())
    with pytest.raises(VkitError, match=f"record '{samples[1].id}' changed"):
        predict(samples[:2], path)


def test_a_file_that_this_command_did_not_write_is_left_alone(samples, tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text('{"id": "1", "output": "paid for"}\n')
    with pytest.raises(VkitError, match=r"out\.jsonl\.settings\.json is not there; choose another --out"):
        predict(samples, path)
    assert path.read_text() == '{"id": "1", "output": "paid for"}\n'


def test_a_line_that_was_tampered_with_is_refused(samples, tmp_path):
    path = tmp_path / "out.jsonl"
    predict(samples[:1], path)
    path.write_text(json.dumps({"id": samples[0].id, "output": "x"}) + "\n")
    with pytest.raises(VkitError, match=f"the line of '{samples[0].id}' lacks 'ids'"):
        predict(samples[:1], path)


def test_what_the_model_refuses_is_told_before_anything_is_made(samples, tmp_path):
    path, long = tmp_path / "new" / "out.jsonl", Sample("long", "7 + " * 1500)
    with pytest.raises(VkitError, match="request 'long'"):
        predict([*samples, long], path)
    with pytest.raises(VkitError, match="prompt and output take"):  # the answers would not have their place
        predict(samples, path, replace(SETTINGS, max_new_tokens=2048))
    missing = Sample("gone", "?", image="gone.png", folder=tmp_path)
    with pytest.raises(VkitError, match="record 'gone'"):
        predict([*samples, missing], path)
    assert not path.parent.exists()


def test_a_batch_over_the_memory_is_told_in_one_line(samples, tmp_path):
    model = Watched(tiny(), dies_before=1, error=torch.OutOfMemoryError)
    with pytest.raises(VkitError, match=r"do not fit in the device's memory .* smaller --batch-size"):
        predict(samples, tmp_path / "out.jsonl", model=model, batch_size=3)
    assert len(lines_of(tmp_path / "out.jsonl")) == 3


def test_problems_in_words_alone_go_where_the_model_takes_them(samples, tmp_path):
    llava = load_huggingface(write_checkpoint("llava", temporary_folder()), device="cpu")
    assert not llava.mixes_pictures
    settings = replace(SETTINGS, max_new_tokens=6)
    watched = Watched(llava)
    predict(samples, tmp_path / "four.jsonl", settings, model=watched, batch_size=4)
    predict(samples, tmp_path / "one.jsonl", settings, model=llava)
    assert [len(batch) for batch in watched.batches] == [1, 4, 1, 4]
    assert lines_of(tmp_path / "four.jsonl") == lines_of(tmp_path / "one.jsonl")


def test_a_model_that_needs_a_picture_refuses_the_problem_without_one(samples, tmp_path):
    paligemma = load_huggingface(write_checkpoint("paligemma", temporary_folder()), device="cpu")
    with pytest.raises(VkitError, match=f"request '{samples[5].id}': PaliGemmaProcessor refuses it"):
        predict(samples[1:6], tmp_path / "out.jsonl", replace(SETTINGS, max_new_tokens=4), model=paligemma)
    assert not (tmp_path / "out.jsonl").exists()


def mathvista(folder, count):
    """A release of so many miniature problems, to be asked in the release's own words."""
    (folder / "images").mkdir(parents=True)
    rows = {}
    for number in range(count):
        drawn = draw(random.Random(f"test {number}"), split="test")
        content = drawn.versions["text-dominant"]
        (folder / f"images/{number}.png").write_bytes(content.picture)
        rows[str(number)] = {
            "question": "How many?", "query": content.text, "choices": None, "question_type": "free_form",
            "answer_type": "integer", "answer": drawn.answer, "image": f"images/{number}.png",
            "metadata": {"task": "geometry"},
        }  # fmt: skip
    (folder / "testmini.json").write_text(json.dumps(rows))
    return folder


def test_a_suite_is_asked_in_its_own_words_and_scored(vkit, tmp_path):
    release, out = mathvista(tmp_path / "MathVista", 8), tmp_path / "out.jsonl"
    code, stdout, stderr = vkit(
        "generate", "--model", "tiny", "--suite", "mathvista", "--data", release, "--out", out,
        "--max-new-tokens", 40,
    )  # fmt: skip
    assert code == 0, stderr
    summary = json.loads(stdout)
    assert (summary["prompt"], summary["items"], summary["random_weights"]) == ("suite", 8, False)
    assert f"{out}: 8 predictions (8 new)" in stderr
    code, stdout, stderr = vkit("score", "--suite", "mathvista", "--data", release, "--predictions", out)
    assert code == 0, stderr
    # 'tiny' knows the query, not "How many?": it was asked what the release asks.
    assert json.loads(stdout)["figures"]["accuracy"]["value"] >= 75


def test_records_of_another_benchmark_are_refused(vkit, tmp_path):
    release = mathvista(tmp_path / "MathVista", 1)
    arguments = ("generate", "--model", "tiny", "--data", release, "--out", tmp_path / "out.jsonl")
    code, _, stderr = vkit(*arguments, "--suite", "wemath")
    assert (code, stderr.count("\n")) == (1, 1)
    assert "record '0' is of mathvista, but --suite wemath was asked for" in stderr
    code, _, stderr = vkit(*arguments, "--prompt", "suite-cot")
    assert code == 1
    assert "record '0': mathvista has no prompt 'suite-cot', only mathverse; choose --prompt plain" in stderr


def test_a_release_without_its_prompts_is_refused(tmp_path):
    sample = Sample("7", "How many?", meta={"source": "mathvista"})
    with pytest.raises(VkitError, match="record '7' has no 'query' in its meta"):
        build_prompt(sample, "suite")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the rows of MathVerse in ../shared/data")
def test_mathverse_is_asked_in_its_own_words():
    path = DATA / "mathverse" / "testmini_text_only_60.json"
    row = json.loads(path.read_text())[0]
    sample = next(iter(scan_mathverse(path)))
    for prompt, key in (("suite", "query_wo"), ("suite-cot", "query_cot")):
        assert [part.text for part in build_prompt(sample, prompt).parts] == [row[key]]


def test_wemath_is_asked_by_its_template_with_the_picture_first(tmp_path):
    row = {
        "ID": "2steps_14", "key": "2steps_1", "knowledge concept": "Angles", "question": "Which {is} it?",
        "option": "A. 3, 5;B. 4; C. 6", "answer": "B", "image_path": "image/1.png",
    }  # fmt: skip
    (tmp_path / "image").mkdir()
    content = draw(random.Random(0)).versions["text-dominant"]
    (tmp_path / "image" / "1.png").write_bytes(content.picture)
    (tmp_path / "testmini.json").write_text(
        json.dumps([row, {**row, "key": "2steps_2", "option": "B or C?"}])
    )
    requests = [build_prompt(sample, "suite") for sample in scan_wemath(tmp_path)]
    for request, options in zip(requests, ("Option: A. 3, 5; B. 4; C. 6", "B or C?"), strict=True):
        picture, text = request.parts
        assert isinstance(picture, Picture)
        assert f"\nQuestion: Which {{is}} it?\n{options}\nRegarding the format" in text.text
        assert text.text.endswith("<Thought process>: <<your thought process>> <Answer>: <<your option>>")


def test_a_limit_can_be_raised_later(vkit, tmp_path):
    problems, out = write_tests(tmp_path, 1), tmp_path / "out.jsonl"
    options = ("--model", "tiny-random", "--data", problems, "--max-new-tokens", 4, "--out", out)
    assert vkit("generate", *options, "--limit", 2)[0] == 0
    code, stdout, stderr = vkit("generate", *options)
    assert (code, json.loads(stdout)["new"], len(lines_of(out))) == (0, 3, 5)
    assert "5 cut at 4 tokens, --max-new-tokens raises that" in stderr
    assert "the weights are random" in stderr


def test_the_command_draws_and_refuses_what_it_cannot_draw(vkit, tmp_path):
    problems, out = write_tests(tmp_path, 1), tmp_path / "out.jsonl"
    options = ("--model", "tiny", "--data", problems, "--prompt", "plain", "--out", out)
    for wrong, said in (
        (("--temperature", -1), "temperature -1.0: give 0"),
        (("--temperature", "nan"), "temperature nan: give 0"),
        (("--temperature", 1, "--top-p", 0), "top_p 0.0: give"),
        (("--seed", 2), "seed 2 has no effect on greedy decoding"),
    ):
        code, stdout, stderr = vkit("generate", *options, *wrong)
        assert (code, stdout, stderr.count("\n"), out.exists()) == (1, "", 1, False)
        assert said in stderr
    drawing = ("--temperature", 1.5, "--top-p", 0.9, "--seed", 2)
    code, stdout, _ = vkit("generate", *options, *drawing, "--batch-size", 2)
    assert code == 0
    assert [json.loads(stdout)[name] for name in ("temperature", "top_p", "seed")] == [1.5, 0.9, 2]
    again = tmp_path / "again.jsonl"
    assert vkit("generate", *options[:-1], again, *drawing, "--batch-size", 5)[0] == 0
    assert lines_of(again) == lines_of(out)


@pytest.mark.parametrize("command", ["generate", "attn-ratio"])
def test_an_adapter_of_another_base_is_told(vkit, tmp_path, command):
    trained, adapter = load_model("tiny-random", device="cpu"), tmp_path / "lora"
    add_lora(trained, rank=2, alpha=2)
    save_adapter(trained, adapter)
    problems = write_tests(tmp_path, 1)
    problems.write_text(problems.read_text().splitlines(keepends=True)[1])  # one with a picture
    options = ("--adapter", adapter, "--data", problems, "--prompt", "plain", "--max-new-tokens", 2)
    note = f"note: adapter {adapter} was trained on tiny-random, and is used on tiny\n"
    code, _, stderr = vkit(command, "--model", "tiny", *options, "--out", tmp_path / "other")
    assert (code, note in stderr) == (0, True)
    code, _, stderr = vkit(command, "--model", "tiny-random", *options, "--out", tmp_path / "same")
    assert (code, "note:" in stderr) == (0, False)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from vkit.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['generate', '--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'transformers', 'numpy', 'PIL') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_no_problem_at_all_is_refused(tmp_path):
    with pytest.raises(VkitError, match="no problem to answer"):
        predict([], tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
