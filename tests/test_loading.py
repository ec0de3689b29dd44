"""load_model: finds the right loader, and tells in one line what is not there."""

import json
import subprocess
import sys

import pytest
import torch

from tests.tinyllava_data import FOLDER, needs_recordings
from vkit.errors import VkitError
from vkit.models.loading import load_model, read_tokenizer
from vkit.models.tiny import build_tiny
from vkit.models.tinyllava_adapter import TinyLlavaModel


@pytest.fixture
def folder(tmp_path):
    build_tiny().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub of one TinyLLaVA and one other model, both under the owner's name."""
    import huggingface_hub

    def file(name, file):
        if not name.startswith("owner/"):
            raise FileNotFoundError(f"{name} is not on the hub")
        return str(tmp_path / name / file)

    build_tiny().save(tmp_path / "owner" / "tinyllava")
    (tmp_path / "owner" / "other").mkdir()
    (tmp_path / "owner" / "other" / "config.json").write_text('{"model_type": "llava"}')
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", file)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(tmp_path / name))


@pytest.fixture
def huggingface(monkeypatch):
    """What the loader of other families is called with."""
    from vkit.models import huggingface_loading

    calls = []
    monkeypatch.setattr(
        huggingface_loading, "load_huggingface", lambda name, **kwargs: calls.append((name, kwargs))
    )
    return calls


def refusal(*args, **kwargs):
    with pytest.raises(VkitError) as error:
        load_model(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_importing_the_loader_imports_nothing_heavy():
    code = (
        "import sys, vkit.models.loading; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_folder_may_be_given_as_text_or_path(folder):
    assert isinstance(load_model(folder, device="cpu"), TinyLlavaModel)
    model = load_model(str(folder), device="cpu")
    assert (model.name, model.device, model.model.training) == ("model", torch.device("cpu"), False)


@pytest.mark.parametrize(
    ("asked", "got"), [("auto", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
@pytest.mark.parametrize("name", ["tiny", "folder"])
def test_dtype(folder, name, asked, got):
    model = load_model("tiny" if name == "tiny" else folder, device="cpu", dtype=asked)
    assert {parameter.dtype for parameter in model.model.parameters()} == {got}


def test_a_device_or_dtype_that_is_not_there_is_refused(folder):
    assert "device 'cuda:99' is not there" in refusal("tiny", device="cuda:99")
    assert "device 'cuda:99' is not there" in refusal(folder, device="cuda:99")
    assert "device 'cuda:99' is not there" in refusal("owner/model", device="cuda:99")
    assert "dtype 'int8' is not known" in refusal(folder, dtype="int8")


def test_other_families_go_to_transformers(tmp_path, hub, huggingface):
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    load_model(tmp_path, dtype="float16")
    load_model("owner/other", adapter="a", device="cpu")
    load_model("nobody/nothing", device_map="auto")  # transformers' loader says that it is not there
    common = {"adapter": None, "device": "auto", "dtype": "auto", "device_map": None, "quantize": None}
    assert huggingface == [
        (str(tmp_path), {**common, "dtype": "float16"}),
        ("owner/other", {**common, "adapter": "a", "device": "cpu"}),
        ("nobody/nothing", {**common, "device_map": "auto"}),
    ]


def test_a_tinyllava_of_the_hub_is_downloaded_and_read_here(hub, huggingface, monkeypatch):
    assert load_model("owner/tinyllava", device="cpu").name == "owner/tinyllava"
    assert huggingface == []

    def offline(name, **_):
        raise OSError("the hub\nis away")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    assert "'owner/tinyllava' cannot be downloaded (the hub is away)" in refusal(
        "owner/tinyllava", device="cpu"
    )


def test_names_that_are_nothing_are_refused(tmp_path, folder):
    for name in ("./nowhere", "/nowhere/at/all", "a/b/c", "", "owner/model name", "~/model"):
        assert refusal(name) == (
            f"model {name!r} is not a folder; give a checkpoint's folder, a hub id, or 'tiny'"
        )
    assert "is not a folder" in refusal(folder / "config.json")
    assert refusal(tmp_path) == f"{tmp_path} holds no config.json; give the folder of a checkpoint"
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "holds an adapter, not a model; give its base model" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert "holds no JSON object" in refusal(tmp_path)


def test_a_checkpoint_without_a_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    assert f"{folder} holds no tokenizer" in refusal(folder)


@needs_recordings
def test_a_tokenizer_in_the_older_files_is_the_same():
    """As TinyLLaVA-3.1B has it: CodeGenTokenizer in vocab.json and merges.txt, with runs of blanks added."""
    files = {path.name: path.read_bytes() for path in FOLDER.glob("*token*.json")}
    new = read_tokenizer(files, "new")
    model = json.loads(files["tokenizer.json"])["model"]
    added = {
        "added_tokens_decoder": {"0": {"content": "<|endoftext|>", "special": True}, "600": {"content": "  "}}
    }
    older = {
        "vocab.json": json.dumps(model["vocab"]).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *model["merges"]]).encode(),
        "special_tokens_map.json": files["special_tokens_map.json"],
        "tokenizer_config.json": json.dumps({"tokenizer_class": "CodeGenTokenizer", **added}).encode(),
    }
    old = read_tokenizer(older, "old")
    for text in ("Find x.\nA. 3\nB. 37°", " ASSISTANT: The angle is 40.<|endoftext|>"):
        for key in ("input_ids", "offset_mapping"):
            assert old(text, return_offsets_mapping=True)[key] == new(text, return_offsets_mapping=True)[key]
    assert old("a  b")["input_ids"][1] == 600
    older["tokenizer_config.json"] = older["tokenizer_config.json"].replace(b"600", b"640")
    with pytest.raises(VkitError, match="older: the tokenizer reads '  ' as 600, but its files say 640"):
        read_tokenizer(older, "older")


def test_a_damaged_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    assert "the tokenizer cannot be read" in refusal(folder)


def test_a_tokenizer_without_its_settings_is_read(folder):
    (folder / "tokenizer_config.json").unlink()
    assert load_model(folder, device="cpu").tokenize_answer("x") == build_tiny().tokenize_answer("x")


def test_a_tokenizer_of_another_model_is_refused(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"][0]["content"] = "<end>"
    tokenizer["model"]["vocab"]["<end>"] = tokenizer["model"]["vocab"].pop("</s>")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    assert "the tokenizer lacks '</s>'" in refusal(folder)


def test_a_preprocessor_of_another_tower_is_refused_with_its_folder(folder):
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({"size": {"height": 384, "width": 384}}))
    assert refusal(folder).startswith(f"{folder}: preprocessor_config.json makes pictures of")
    path.unlink()
    assert load_model(folder, device="cpu").images == build_tiny().images


def test_code_that_comes_with_a_checkpoint_is_never_run(folder, monkeypatch):
    trace = folder / "trace"
    (folder / "modeling_evil.py").write_text(f"open({str(trace)!r}, 'w')")
    for name, key in (("config.json", "AutoModelForCausalLM"), ("tokenizer_config.json", "AutoTokenizer")):
        values = json.loads((folder / name).read_text())
        target = values["text_config"] if name == "config.json" else values
        target["auto_map"] = {key: "modeling_evil.Evil", "AutoConfig": "modeling_evil.Evil"}
        (folder / name).write_text(json.dumps(values))
    load_model(folder, device="cpu")
    assert not trace.exists()
