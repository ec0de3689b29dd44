"""`vkit attn-ratio` and its neighbours, as people call them."""

import errno
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from vkit.attention import run as run_module
from vkit.attention.run import file_name
from vkit.attention.run_folder import read_details, read_maps
from vkit.models.loading import load_model
from vkit.synthesis.sketches import write_sketches


@pytest.fixture
def problems(tmp_path):
    return write_sketches(tmp_path / "problems", 3, seed=2)


def items_of(folder):
    return [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]


def given(problems, out, *more):
    answers = problems.with_name("answers.jsonl")
    return ("attn-ratio", "--model", "tiny", "--data", problems, "--text", answers, "--out", out, *more)


def test_it_generates_measures_and_leaves_a_page(vkit, problems, tmp_path):
    out = tmp_path / "run"
    code, stdout, stderr = vkit(
        "attn-ratio", "--model", "tiny-random", "--data", problems, "--out", out, "--max-new-tokens", 6,
        "--batch-size", 2, "--prompt", "direct", "--limit", 2, "--overlay", 1,
    )  # fmt: skip
    assert code == 0, stderr
    summary = json.loads(stdout)
    assert summary == json.loads((out / "summary.json").read_text())
    assert (summary["items"], summary["random_weights"], summary["prompt"]) == (2, True, "direct")
    for item in items_of(out):
        tokens = len(item["output_ids"])
        assert 0 < tokens <= 6
        for name in ("V", "P", "ratio", "output_tokens"):
            assert len(item[name]) == tokens
        np.testing.assert_allclose(np.array(item["V"]) / np.array(item["P"]), item["ratio"], rtol=1e-5)
        np.testing.assert_allclose(np.sum(list(item["shares"].values()), 0), 1, atol=1e-5)
        assert item["reduced"]["mean"] == pytest.approx(np.mean(item["ratio"]), rel=1e-5)
        assert "".join(item["output_tokens"]) == item["output_text"]
        assert len(item["prompt_ids"]) == item["prompt_length"]
        assert (out / item["image"]).is_file()
        assert (out / item["maps"]).is_file()
        details, maps = read_details(out, item), read_maps(out, item)
        np.testing.assert_allclose(details.layer_share.mean(1), item["shares"]["image"], atol=1e-5)
        np.testing.assert_allclose(details.head_share.mean(), details.layer_share.mean(), rtol=1e-5)
        np.testing.assert_allclose(
            np.array(item["V"]) * item["image_columns"], details.layer_share.mean(1), atol=1e-5
        )
        strongest = details.column_attention.mean(0)
        assert (np.diff(strongest) <= 0).all()
        drawn = np.stack([maps.attention(j) for j in range(tokens)])
        step = np.sqrt(maps.scale[:, None] * details.column_attention) / 255  # of the 8-bit roots
        np.testing.assert_array_less(
            abs(drawn[:, details.columns] - details.column_attention), 2 * step + 1e-9
        )
        assert drawn.mean(0).max() <= strongest[0] * 1.02
        pictures = sorted(path.name for path in (out / "pictures" / item["id"]).iterdir())
        assert pictures[0] == "heatmap.png"
    assert (out / "index.html").is_file()
    assert "index.html" in stderr


def test_given_answers_are_measured_as_they_are(vkit, problems, tmp_path):
    code, stdout, _ = vkit(*given(problems, tmp_path / "run", "--reduce", "max"))
    assert code == 0
    summary = json.loads(stdout)
    assert (summary["accuracy"], summary["not_extracted"], summary["reduce"]) == (1.0, 0, "max")
    written = [json.loads(line) for line in problems.read_text().splitlines()]
    assert [item["output_text"].strip() for item in items_of(tmp_path / "run")] == [
        record["rationale"] for record in written
    ]


def test_given_tokens_are_taken_where_they_say_the_text_and_none_else(vkit, problems, tmp_path):
    model = load_model("tiny")
    records = [json.loads(line) for line in problems.read_text().splitlines()]
    letters = model.tokenizer.get_vocab()
    for record in records:  # letter by letter, as no tokenizer cuts a text
        record["output"] = " " + str(record["rationale"])
        record["ids"] = [letters[letter] for letter in record["output"].replace(" ", "Ġ")]
    spelled = records[1]
    assert model.decode(spelled["ids"]) == spelled["output"]
    assert spelled["ids"] != model.tokenize_answer(spelled["output"])
    lines = [{"id": r["id"], "output": r["output"]} for r in records]
    ids = {"spelled": spelled["ids"], "other": spelled["ids"][:-1], "unknown": [10**9], "negative": [-1]}
    found = {}
    for name, told in {"none": None, **ids}.items():
        wanted = [
            line if told is None or line["id"] != spelled["id"] else {**line, "ids": told} for line in lines
        ]
        problems.with_name("answers.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in wanted))
        code, _, stderr = vkit(*given(problems, tmp_path / name))
        assert code == 0, stderr
        found[name] = {item["id"]: item["output_ids"] for item in items_of(tmp_path / name)}[spelled["id"]]
    assert found.pop("spelled") == spelled["ids"]
    assert all(tokens == model.tokenize_answer(spelled["output"]) for tokens in found.values())


def test_tokens_that_are_none_are_refused(vkit, problems, tmp_path):
    path = problems.with_name("answers.jsonl")
    path.write_text(path.read_text().replace('"output"', '"ids": ["3"], "output"', 1))
    code, _, stderr = vkit(*given(problems, tmp_path / "run"))
    assert (code, stderr.count("\n")) == (1, 1)
    assert 'answers.jsonl:1: "ids" must be a list of tokens' in stderr


def test_batches_change_nothing(vkit, problems, tmp_path):
    for size in (1, 3):
        assert vkit(*given(problems, tmp_path / str(size), "--batch-size", size))[0] == 0
    for alone, together in zip(items_of(tmp_path / "1"), items_of(tmp_path / "3"), strict=True):
        np.testing.assert_allclose(alone["ratio"], together["ratio"], rtol=1e-4)


def test_an_interrupted_run_continues_where_it_stopped(vkit, problems, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert vkit(*given(problems, whole))[0] == 0

    real, calls = run_module.measure, []

    def dies_at_the_second(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(run_module, "measure", dies_at_the_second)
    code, _, stderr = vkit(*given(problems, broken))
    assert code == 130
    assert f"kept in {broken}" in stderr
    assert len(items_of(broken)) == 1
    assert not (broken / "summary.json").exists()
    (broken / "items.jsonl").open("a").write('{"id": "to')  # torn by the kill
    assert vkit(*given(problems, broken))[0] == 0
    assert len(calls) == 4  # the first, the one that died, and the two that were left
    for one, other in zip(items_of(whole), items_of(broken), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert vkit(*given(problems, broken))[0] == 0
    assert len(calls) == 4


def test_another_run_or_a_changed_record_does_not_mix_in(vkit, problems, tmp_path):
    out = tmp_path / "run"
    assert vkit(*given(problems, out))[0] == 0
    before = (out / "items.jsonl").read_bytes()
    code, _, stderr = vkit(*given(problems, out, "--spans", "question"))
    assert (code, "spans 'study' -> 'question'" in stderr) == (1, True)
    Image.new("RGB", (336, 336), "red").save(problems.parent / "images" / "2-1.png")
    code, _, stderr = vkit(*given(problems, out))
    assert (code, "record '2-1' changed" in stderr) == (1, True)
    assert (out / "items.jsonl").read_bytes() == before


def broken_image(problems):
    path = problems.parent / "images" / "2-1.png"
    path.write_bytes(path.read_bytes()[:400])


def outside(problems):
    problems.write_text(problems.read_text().replace("images/2-1.png", "../../2-1.png"))


def missing_image(problems):
    (problems.parent / "images" / "2-1.png").unlink()


def huge_image(problems):
    Image.new("1", (9500, 9500)).save(problems.parent / "images" / "2-1.png")


def no_image(problems):
    problems.write_text(problems.read_text().replace('"image": "images/2-1.png", ', ""))


def empty(problems):
    problems.write_text("")


def half_a_character(problems):
    problems.write_text(problems.read_text().replace('"question": "', '"question": "\\ud800', 1))


def a_token_in_the_text(problems):
    problems.write_text(
        problems.read_text().replace('"id": "2-1", "question": "', '"id": "2-1", "question": "<image>')
    )


def a_name_longer_than_disks_allow(problems):
    problems.write_text(problems.read_text().replace("images/2-1.png", "x" * 300))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken_image, "2-1.png cannot be read"),
        (outside, "outside its folder"),
        (missing_image, "2-1.png is missing"),
        (huge_image, "over the limit of 89478485"),
        (no_image, "record '2-1' has no image"),
        (empty, "holds no records"),
        (half_a_character, "problems.jsonl:1: a text holds \\ud800, half a character"),
        (a_token_in_the_text, "'2-1' holds the text '<image>'"),
        (a_name_longer_than_disks_allow, "is missing"),
        (lambda problems: problems.write_text('{"id": ' + "1" * 5000 + "}"), "problems.jsonl:1: not JSON"),
        (
            lambda problems: problems.with_name("answers.jsonl").write_text(
                '{"id": "2-0", "output": "\\ud800"}'
            ),
            "answers.jsonl:1: a text holds \\ud800",
        ),
        (lambda problems: problems.unlink(), "does not exist"),
        (lambda problems: problems.write_text('{"id": 1'), "problems.jsonl:1: not JSON"),
        (lambda problems: problems.with_name("answers.jsonl").write_text('{"id": "2-0"}'), "answers.jsonl:1"),
        (
            lambda problems: problems.with_name("answers.jsonl").write_text('{"id": "2-0", "output": "x"}'),
            "no answer for 2 of 3 problems, first '2-1'",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(vkit, problems, tmp_path, damage, message):
    damage(problems)
    code, stdout, stderr = vkit(*given(problems, tmp_path / "run"))
    assert (code, stdout) == (1, "")
    assert message in stderr
    assert stderr.startswith("vkit: ")
    assert stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--device", "cuda:7"), "cuda"),
        (("--device", "cuda:99999999999"), "cuda"),
        (("--device", "abacus"), "abacus"),
        (("--model", "no/such/folder/here"), "no/such/folder/here"),
        (("--adapter", "nowhere"), "nowhere"),
    ],
)
def test_a_model_that_cannot_be_had_is_one_line(vkit, problems, tmp_path, change, message):
    code, stdout, stderr = vkit(*given(problems, tmp_path / "run"), *change)
    assert (code, stdout) == (1, ""), stderr
    assert message in stderr
    assert stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_wrong_usage_exits_with_2(vkit, problems, tmp_path):
    for arguments in (
        ("attn-ratio", "--model", "tiny"),
        given(problems, tmp_path / "run", "--rows", "all"),
        given(problems, tmp_path / "run", "--batch-size", 0),
        ("no-such-command",),
    ):
        code, stdout, stderr = vkit(*arguments)
        assert (code, stdout) == (2, "")
        assert "Usage" in stderr or "Error" in stderr


def test_an_output_folder_that_cannot_be_made_is_told(vkit, problems, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, stderr = vkit(*given(problems, tmp_path / "file" / "run"))
    assert code == 1
    assert "cannot be written" in stderr
    assert stderr.count("\n") == 1


def test_ids_that_look_like_paths_stay_inside_the_folder(vkit, problems, tmp_path):
    text = problems.read_text().replace('"id": "2-1"', '"id": "../../escape"')
    problems.write_text(text)
    answers = problems.with_name("answers.jsonl")
    answers.write_text(answers.read_text().replace('"id": "2-1"', '"id": "../../escape"'))
    code, _, stderr = vkit(*given(problems, tmp_path / "a" / "run"))
    assert code == 0, stderr
    assert not list(tmp_path.glob("escape*"))
    assert [item["id"] for item in items_of(tmp_path / "a" / "run")][1] == "../../escape"


def test_data_check_reports_every_bad_record(vkit, problems):
    assert json.loads(vkit("data", "check", problems)[1])["good"] == 3
    missing_image(problems)
    problems.write_text(problems.read_text() + "nonsense\n")
    code, stdout, stderr = vkit("data", "check", problems)
    assert code == 1
    assert json.loads(stdout) == {"path": str(problems), "good": 2, "bad": 2, "images": 2}
    assert "2-1.png is missing" in stderr
    assert "problems.jsonl:4: not JSON" in stderr


def test_sketches_are_the_same_bytes_for_the_same_seed(vkit, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert vkit("data", "sketch", "--count", 4, "--seed", seed, "--out", tmp_path / name)[0] == 0
    read = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))]
        for name in ("a", "b", "c")
    }
    assert read["a"] == read["b"]
    assert read["a"] != read["c"]


def test_doctor_says_what_runs_here(vkit, monkeypatch):
    code, stdout, stderr = vkit("doctor")
    report = json.loads(stdout)
    assert code == 0
    assert report["attention"]["cpu"] in ("cpp", "pytorch")
    assert ("not built" in stderr) == (report["attention"]["cpu"] == "pytorch")


def test_a_model_folder_is_loaded_by_path(vkit, problems, tmp_path):
    from vkit.models.tiny import build_trained

    build_trained().save(tmp_path / "tiny-copy")
    arguments = [tmp_path / "tiny-copy" if a == "tiny" else a for a in given(problems, tmp_path / "copy")]
    code, _, stderr = vkit(*arguments)
    assert code == 0, stderr
    assert vkit(*given(problems, tmp_path / "run"))[0] == 0
    for copy, original in zip(items_of(tmp_path / "copy"), items_of(tmp_path / "run"), strict=True):
        assert copy["ratio"] == original["ratio"]
    shutil.rmtree(tmp_path / "tiny-copy")


def test_a_full_disk_is_one_line_and_the_run_continues_once_there_is_room(
    vkit, problems, tmp_path, monkeypatch
):
    out, real, calls = tmp_path / "run", os.fsync, []

    def full_in_the_second_item(file):
        calls.append(file)
        if len(calls) == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    monkeypatch.setattr(os, "fsync", full_in_the_second_item)
    code, stdout, stderr = vkit(*given(problems, out))
    assert (code, stdout) == (1, "")
    assert re.match(rf"vkit: {out}/\S+: No space left on device; make room", stderr)
    assert stderr.count("\n") == 1
    assert not list(out.rglob("*.part"))
    assert len(items_of(out)) == 1
    assert vkit(*given(problems, out))[0] == 0
    assert len(items_of(out)) == 3


def test_a_run_that_measured_nothing_does_not_stand_in_the_way(vkit, problems, tmp_path):
    out = tmp_path / "run"
    arguments = ("attn-ratio", "--model", "tiny", "--data", problems, "--out", out, "--max-new-tokens")
    code, _, stderr = vkit(*arguments, 3000)
    assert (code, "max_position_embeddings" in stderr, stderr.count("\n")) == (1, True, 1)
    assert vkit(*arguments, 2)[0] == 0


def test_a_changed_answer_is_not_taken_for_the_measured_one(vkit, problems, tmp_path):
    assert vkit(*given(problems, tmp_path / "run"))[0] == 0
    answers = problems.with_name("answers.jsonl")
    answers.write_text(answers.read_text().replace('"output": "', '"output": "So, ', 1))
    code, _, stderr = vkit(*given(problems, tmp_path / "run"))
    assert (code, "record '2-0' changed" in stderr) == (1, True)


def test_ids_may_be_numbers_in_records_and_in_answers(vkit, problems, tmp_path):
    for path in (problems, problems.with_name("answers.jsonl")):
        path.write_text(re.sub(r'"id": "2-(\d)"', r'"id": \1', path.read_text()))
    assert vkit(*given(problems, tmp_path / "run"))[0] == 0
    assert [item["id"] for item in items_of(tmp_path / "run")] == ["0", "1", "2"]


def test_file_names_differ_whatever_the_disk_makes_of_capitals():
    ids = ["ab", "aB", "AB", "a/b", "a-b", "..", "", " ", "é", "CON", "x" * 300, "X" * 300]
    ids += [file_name("a/b"), file_name("aB")]  # an id that looks like another's file name
    names = [file_name(record_id) for record_id in ids]
    assert len({name.lower() for name in names}) == len(ids)
    assert all(re.fullmatch(r"[\w-]{1,70}", name, re.ASCII) for name in names)


@pytest.mark.parametrize("weight", ["lm_head.weight", "model.layers.1.self_attn.q_proj.weight"])
def test_a_model_that_computes_no_numbers_is_refused(vkit, problems, tmp_path, weight):
    from vkit.models.tiny import build_tiny

    tiny = build_tiny()
    tiny.model.language_model.get_parameter(weight).data[0, 0] = float("nan")
    tiny.save(tmp_path / "damaged")
    arguments = ["attn-ratio", "--data", problems, "--out", tmp_path / "run", "--model", tmp_path / "damaged"]
    if "lm_head" not in weight:
        arguments += ["--text", problems.with_name("answers.jsonl")]
    code, _, stderr = vkit(*arguments)
    assert (code, "item '2-0'" in stderr or "request '2-0'" in stderr, stderr.count("\n")) == (1, True, 1)
    assert (tmp_path / "run" / "items.jsonl").read_bytes() == b""


def test_a_model_whose_weights_changed_does_not_mix_in(vkit, problems, tmp_path):
    from vkit.models.tiny import build_tiny

    model, out = tmp_path / "model", tmp_path / "run"
    arguments = [model if a == "tiny" else a for a in given(problems, out)]
    build_tiny(seed=0).save(model)
    assert vkit(*arguments)[0] == 0
    shutil.rmtree(model)
    build_tiny(seed=1).save(model)
    code, _, stderr = vkit(*arguments)
    assert code == 1
    assert "weights" in stderr
    assert "use a new folder" in stderr


def test_sketches_do_not_overwrite_other_problems(vkit, problems):
    before = problems.read_bytes()
    assert vkit("data", "sketch", "--count", 3, "--seed", 2, "--out", problems.parent)[0] == 0
    code, _, stderr = vkit("data", "sketch", "--count", 4, "--seed", 2, "--out", problems.parent)
    assert (code, "holds something else" in stderr) == (1, True)
    assert problems.read_bytes() == before


def test_a_wrong_cpu_capability_is_told_in_one_line():
    import os
    import subprocess

    from vkit.kernels._extension import load_extension

    if load_extension() is not None:
        pytest.skip(load_extension())
    environment = {**os.environ, "VKIT_CPU_CAPABILITY": "abacus"}
    command = [sys.executable, "-m", "vkit.cli.main", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "abacus" in done.stderr
    assert done.stderr.count("\n") == 1


def test_only_problems_of_a_version(vkit, tmp_path):
    from tests.training_data import write_tests

    data = write_tests(tmp_path, 2)
    command = ("attn-ratio", "--model", "tiny", "--data", data, "--prompt", "plain", "--max-new-tokens", 40)
    code, stdout, stderr = vkit(*command, "--problem-version", "vision-dominant", "--out", tmp_path / "run")
    assert code == 0, stderr
    assert [item["id"] for item in items_of(tmp_path / "run")] == ["t0/vision-dominant", "t1/vision-dominant"]
    assert json.loads(stdout)["accuracy"] == 1.0  # the preset's weights were trained on such problems
    code, _, stderr = vkit(*command, "--problem-version", "none", "--out", tmp_path / "other")
    assert (code, "holds no problem of version 'none'" in stderr) == (1, True)
