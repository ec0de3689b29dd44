"""TinyLLaVA checkpoints: every official layout is read, bit for bit, and what is wrong is told."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tinyllava_data import FOLDER, needs_recordings
from vkit.errors import VkitError
from vkit.models.tiny import build_stand_in
from vkit.models.tinyllava_checkpoint import LEGACY_PREFIXES, PART_FILES, read_checkpoint, write_checkpoint

CPU = torch.device("cpu")
HEAD = "vision_tower._vision_tower.vision_model.head."
LAST_LAYER = "vision_tower._vision_tower.vision_model.encoder.layers.3."


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    build_stand_in().save(folder)
    return folder


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "tiny")


def read(folder, dtype=torch.float32):
    return read_checkpoint(folder, CPU, dtype)


def weights(folder):
    return load_file(folder / "model.safetensors")


def rewrite(folder, tensors):
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) and key in config else value
    (folder / "config.json").write_text(json.dumps(config))


def assert_same(model, tensors):
    state = model.state_dict()
    assert state.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(state[name], tensor), name


def refusal(folder, **kwargs):
    with pytest.raises(VkitError) as error:
        read(folder, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- reading what the official code wrote


@needs_recordings
def test_an_official_checkpoint_saved_again_is_the_same(tmp_path):
    checkpoint = read(FOLDER)
    copy = tmp_path / "copy"
    write_checkpoint(copy, checkpoint.model, checkpoint.model.config.raw, checkpoint.files)
    before, after = load_file(FOLDER / "model.safetensors"), load_file(copy / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(
        torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before
    )
    assert json.loads((copy / "config.json").read_text()) == json.loads((FOLDER / "config.json").read_text())
    skipped = {"expected.json", "config.json", "model.safetensors"}
    others = [path for path in FOLDER.glob("*.json") if path.name not in skipped]
    assert len(others) == 5
    for path in others:
        assert (copy / path.name).read_bytes() == path.read_bytes()


def test_config_keys_survive_a_round_trip_unknown_ones_too(folder, tmp_path):
    edit_config(folder, from_the_future={"a": [1, None]}, text_config={"also_unknown": "x"})
    before = json.loads((folder / "config.json").read_text())
    checkpoint = read(folder)
    write_checkpoint(tmp_path / "copy", checkpoint.model, checkpoint.model.config.raw, checkpoint.files)
    assert json.loads((tmp_path / "copy" / "config.json").read_text()) == before


# ---------------------------------------------------------------- layouts


def test_sharded_safetensors(folder, tmp_path):
    tensors = weights(folder)
    checkpoint = read(folder)
    sharded = tmp_path / "sharded"
    limit = 10**6
    write_checkpoint(
        sharded, checkpoint.model, checkpoint.model.config.raw, checkpoint.files, max_shard_size=limit
    )
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    shards = sorted(sharded.glob("model-*.safetensors"))
    assert [path.name for path in shards][-1] == f"model-{len(shards):05}-of-{len(shards):05}.safetensors"
    assert len(shards) > 5
    assert index["weight_map"].keys() == tensors.keys()
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    assert all(sum(tensor.nbytes for tensor in load_file(path).values()) <= limit for path in shards)
    assert_same(read(sharded).model, tensors)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_weights(folder, zipped):
    tensors = weights(folder)
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert_same(read(folder).model, tensors)


def test_sharded_pickled_weights(folder):
    tensors = weights(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for file, half in halves.items():
        torch.save({name: tensors[name] for name in half}, folder / file)
    weight_map = {name: file for file, half in halves.items() for name in half}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_same(read(folder).model, tensors)


def test_the_parts_that_the_lora_recipe_leaves(folder):
    tensors = weights(folder)
    (folder / "model.safetensors").unlink()
    for file, prefix in PART_FILES.items():
        part = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        # Layers that LoRA wraps are saved with the wrapper in their names.
        part = {name.replace("fc1.weight", "fc1.base_layer.weight"): tensor for name, tensor in part.items()}
        (folder / file).parent.mkdir()
        torch.save(part, folder / file)
    assert_same(read(folder).model, tensors)


def test_the_legacy_layout(folder, tmp_path):
    tensors = weights(folder)
    config = json.loads((folder / "config.json").read_text())
    legacy = {
        **config["text_config"],
        "model_type": "tiny_llava_phi",
        "vision_config": config["vision_config"],
    }
    legacy |= {
        "architectures": ["TinyLlavaPhiForCausalLM"],
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",  # which the legacy SigLIP tower does not heed
        "mm_vision_tower": "somewhere/else",
        "image_aspect_ratio": "pad",
        "tokenizer_model_max_length": 2048,
    }
    (folder / "config.json").write_text(json.dumps(legacy))
    # The legacy code saves SigLIP without its pooling head and without the layer behind the features.
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith((HEAD, LAST_LAYER))}
    renamed = {}
    for name, tensor in tensors.items():
        old = next(old for old, new in LEGACY_PREFIXES.items() if name.startswith(new))
        renamed[old + name.removeprefix(LEGACY_PREFIXES[old])] = tensor
    assert not renamed.keys() & tensors.keys()
    rewrite(folder, renamed)
    checkpoint = read(folder)
    assert_same(checkpoint.model, tensors)
    assert (checkpoint.model.config.num_image_tokens, checkpoint.model.config.text.num_hidden_layers) == (
        64,
        4,
    )
    # Saved, it has the new layout.
    write_checkpoint(tmp_path / "new", checkpoint.model, checkpoint.model.config.raw, checkpoint.files)
    assert json.loads((tmp_path / "new" / "config.json").read_text())["model_type"] == "tinyllava"
    assert_same(read(tmp_path / "new").model, tensors)


def test_a_legacy_tower_is_known_by_name_or_refused(folder):
    legacy = {
        "model_type": "tiny_llava_phi",
        "mm_projector_type": "linear",
        "mm_vision_tower": "bczhou/TinyLLaVA-3.1B-SigLIP",
    }
    (folder / "config.json").write_text(json.dumps(legacy))
    from vkit.models.tinyllava_checkpoint import read_config

    config = read_config(folder)
    assert (config.patches_per_side, config.vision.hidden_size, config.text.model_type) == (27, 1152, "phi")
    (folder / "config.json").write_text(json.dumps({**legacy, "mm_vision_tower": "my/tower"}))
    assert "mm_vision_tower 'my/tower' is not known here; add its 'vision_config'" in refusal(folder)


# ---------------------------------------------------------------- tensors that may be absent or extra


@torch.no_grad()
@pytest.mark.parametrize("absent", [(HEAD,), (LAST_LAYER,), (HEAD, LAST_LAYER)])
def test_parts_of_the_tower_that_never_run_may_be_absent(folder, tmp_path, absent):
    tensors = {name: tensor for name, tensor in weights(folder).items() if not name.startswith(absent)}
    rewrite(folder, tensors)
    checkpoint = read(folder)
    assert_same(checkpoint.model, tensors)
    pixel_values = torch.rand(1, 3, 112, 112)
    expected = build_stand_in().model.encode_images(pixel_values)
    assert torch.equal(checkpoint.model.encode_images(pixel_values), expected)
    write_checkpoint(tmp_path / "copy", checkpoint.model, checkpoint.model.config.raw, checkpoint.files)
    assert weights(tmp_path / "copy").keys() == tensors.keys()


def test_buffers_that_are_computed_may_be_there(folder):
    tensors = weights(folder)
    extra = {
        "language_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(16),
        "vision_tower._vision_tower.vision_model.embeddings.position_ids": torch.arange(64)[None],
    }
    rewrite(folder, {**tensors, **extra})
    assert_same(read(folder).model, tensors)


def test_tied_weights_stand_once_and_stay_tied(folder, tmp_path):
    tensors = weights(folder)
    del tensors["language_model.lm_head.weight"]
    rewrite(folder, tensors)
    edit_config(folder, text_config={"tie_word_embeddings": True})
    checkpoint = read(folder)
    language_model = checkpoint.model.language_model
    assert language_model.lm_head.weight is language_model.model.embed_tokens.weight
    write_checkpoint(tmp_path / "copy", checkpoint.model, checkpoint.model.config.raw, checkpoint.files)
    assert weights(tmp_path / "copy").keys() == tensors.keys()
    assert_same(read(tmp_path / "copy").model, checkpoint.model.state_dict())


def test_missing_unexpected_and_misshapen_tensors_are_named_with_their_folder(folder):
    tensors = weights(folder)
    name = "connector._connector.0.weight"
    rewrite(folder, {key: tensor for key, tensor in tensors.items() if key != name})
    assert refusal(folder).startswith(f"{folder} lacks 1 tensor: {name}; download the checkpoint again")
    rewrite(folder, {key: tensor for key, tensor in tensors.items() if "layers.2" not in key})
    assert "tensors: language_model.model.layers.2.input_layernorm.bias, " in refusal(folder)
    rewrite(
        folder, {key: t for key, t in tensors.items() if not key.startswith(LAST_LAYER.replace("3", "2"))}
    )
    assert f"{LAST_LAYER.replace('3', '2')}layer_norm1.bias" in refusal(folder)
    before_features = (LAST_LAYER.replace("3", "2"), LAST_LAYER)
    rewrite(folder, {key: tensor for key, tensor in tensors.items() if not key.startswith(before_features)})
    assert f"{before_features[0]}layer_norm1.bias" in refusal(folder)
    rewrite(folder, {**tensors, "connector._connector.4.weight": torch.zeros(1)})
    assert "holds 1 tensor: connector._connector.4.weight that the model" in refusal(folder)
    rewrite(folder, {**tensors, name: torch.zeros(128, 95)})
    assert f"1 tensor: {name} (128, 95) instead of (128, 96)" in refusal(folder)
    rewrite(folder, {key: tensor for key, tensor in tensors.items() if key != HEAD + "probe"})
    assert f"lacks 1 tensor: {HEAD}probe" in refusal(folder)


# ---------------------------------------------------------------- damage


def test_a_pickle_that_holds_code_is_refused_and_not_run(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    trace = tmp_path / "trace"

    class Code:
        def __reduce__(self):
            return (open, (str(trace), "w"))

    torch.save({"connector._connector.0.weight": Code()}, folder / "pytorch_model.bin")
    message = refusal(folder)
    assert f"{folder / 'pytorch_model.bin'} is a pickle that holds more than tensors" in message
    assert "convert it to safetensors" in message
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Code(), protocol=2))
    assert f"{folder / 'pytorch_model.bin'} is " in refusal(folder)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x08" * 100])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_weights_are_refused(folder, name, content):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    assert f"{folder / name} is damaged" in refusal(folder)


def test_weights_that_are_cut_short_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "is damaged" in refusal(folder)
    path.unlink()
    torch.save({"model": {"a": torch.zeros(1)}}, folder / "pytorch_model.bin")
    assert "holds no table of tensors" in refusal(folder)
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-100])
    assert "is damaged" in refusal(folder)


@pytest.mark.parametrize("name", ["missing.safetensors", "../model.safetensors"])
def test_an_index_that_names_a_file_elsewhere_is_refused(folder, name):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    assert f"{index} names {name!r}, which is not there" in refusal(folder)


def test_folders_that_are_no_checkpoint_are_refused(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    assert refusal(folder).startswith(f"{folder} holds no weights")
    (folder / "config.json").write_text('{"model_type": "mllama"}')
    assert f"{folder / 'config.json'}: model_type 'mllama' is no TinyLLaVA" in refusal(folder)
    (folder / "config.json").write_text("{")
    assert f"{folder / 'config.json'} is not JSON" in refusal(folder)
    (folder / "config.json").write_text('{"model_type": "tinyllava"}')
    assert "'vision_config' with a model_type is missing" in refusal(folder)
    (folder / "config.json").unlink()
    assert "holds no config.json" in refusal(folder)
    assert "is not a folder" in refusal(folder / "tokenizer.json")
    assert "is not a folder" in refusal(tmp_path / "nowhere")


# ---------------------------------------------------------------- dtype, and writing


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_read_and_written_in_the_dtype_asked_for(folder, tmp_path, dtype):
    tensors = weights(folder)
    checkpoint = read(folder, dtype)
    assert_same(checkpoint.model, {name: tensor.to(dtype) for name, tensor in tensors.items()})
    # Rotary frequencies are computed, and stay in float32.
    assert checkpoint.model.language_model.model.rotary_emb.inv_freq.dtype == torch.float32
    write_checkpoint(tmp_path / "half", checkpoint.model, checkpoint.model.config.raw, checkpoint.files)
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    assert config["torch_dtype"] == str(dtype).removeprefix("torch.")
    assert_same(read(tmp_path / "half", dtype).model, checkpoint.model.state_dict())


def test_reading_leaves_torchs_generator_alone(folder):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    read(folder)
    assert torch.equal(torch.rand(1), expected)


def test_a_folder_that_holds_something_is_not_written_over(folder):
    model = build_stand_in()
    with pytest.raises(VkitError, match="exists already"):
        model.save(folder)
    with pytest.raises(VkitError, match="exists already"):
        model.save(folder / "config.json")


def test_a_write_that_fails_leaves_nothing(tmp_path):
    model = build_stand_in()
    model.files["nowhere/tokenizer.json"] = b""
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_new_parents_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    build_stand_in().save(tmp_path / "empty")
    build_stand_in().save(tmp_path / "a" / "b")
    assert_same(read(tmp_path / "empty").model, weights(tmp_path / "a" / "b"))
    assert (tmp_path / "empty").stat().st_mode & 0o077 == tmp_path.joinpath("a").stat().st_mode & 0o077


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("text_config", "hidden_size", -1),
        ("text_config", "hidden_size", 0),
        ("text_config", "num_attention_heads", 0),
        ("text_config", "num_hidden_layers", 10**9),
        ("text_config", "vocab_size", 10**12),
        ("text_config", "hidden_act", "none"),
        ("text_config", "max_position_embeddings", -1),
        ("vision_config", "patch_size", 0),
        ("vision_config", "image_size", 10**7),
        ("vision_config", "num_hidden_layers", 10**9),
        ("vision_config", "num_attention_heads", 5),
        (None, "tokenizer_model_max_length", "long"),
        (None, "connector_type", ["mlp2x_gelu"]),
    ],
)
def test_a_config_that_describes_no_model_is_refused(folder, part, key, value):
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config)[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    assert str(folder) in refusal(folder)


def test_weights_that_are_whole_numbers_are_refused(folder):
    tensors = weights(folder)
    name = "language_model.model.layers.1.self_attn.q_proj.weight"
    tensors[name] = tensors[name].to(torch.int32)
    rewrite(folder, tensors)
    assert f"holds {name} as torch.int32" in refusal(folder)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02h\x05.", b"PK\x03\x04aaaa", b"\x80\x04}."])
def test_nonsense_in_place_of_a_pickle_is_refused(folder, content, recwarn):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    assert "is damaged" in refusal(folder)
    assert not recwarn.list
