"""LoRA adapters for TinyLLaVA: both layouts are merged exactly, and one that does not fit is refused."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from vkit.errors import VkitError
from vkit.models.loading import load_model
from vkit.models.lora import merge_lora
from vkit.models.tiny import build_stand_in
from vkit.models.tinyllava_checkpoint import PART_FILES

TARGETS = ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]  # the Factory's, all in the language model
PROMPT = torch.tensor([[5, 6, 7, 8]])


def train(model, **settings):
    """A peft model over ``model`` whose adapter does something."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "task_type": "CAUSAL_LM", **settings}
    adapted = get_peft_model(model, LoraConfig(**settings)).eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return adapted


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "stand-in"
    build_stand_in().save(folder)
    return folder


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """Folder of peft's own layout, and the logits that the adapter makes."""
    folder = tmp_path_factory.mktemp("adapter")
    model = train(build_stand_in().model.language_model)
    model.save_pretrained(folder)
    with torch.no_grad():
        return folder, model(PROMPT).logits


def factory_layout(source, folder):
    """The adapter as it is saved when peft wraps the whole model."""
    folder.mkdir(exist_ok=True)
    tensors = load_file(source / "adapter_model.safetensors")
    prefix = "base_model.model."
    tensors = {f"{prefix}language_model.{key.removeprefix(prefix)}": t for key, t in tensors.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = json.loads((source / "adapter_config.json").read_text())
    # Whole names, as peft keeps them where short ones would match the vision tower too.
    config["target_modules"] = [
        f"language_model.{name}"
        for name, _ in build_stand_in().model.language_model.named_modules()
        if name.endswith(tuple(TARGETS))
    ]
    (folder / "adapter_config.json").write_text(json.dumps(config))


def logits(model):
    with torch.no_grad():
        return model.model(PROMPT).logits


def edit(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def copy_of(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def refusal(folder):
    with pytest.raises(VkitError) as error:
        merge_lora(build_stand_in().model.language_model, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_adapter_of_the_language_model_is_merged(base, adapted):
    folder, expected = adapted
    model = load_model(base, adapter=folder, device="cpu")
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits(build_stand_in()), expected, atol=1e-2)
    assert model.model.state_dict().keys() == build_stand_in().model.state_dict().keys()


def test_an_adapter_of_the_whole_model_is_merged_whatever_its_folder_is_called(adapted, tmp_path):
    folder, expected = adapted
    factory_layout(folder, tmp_path / "factory")
    build_stand_in().save(tmp_path / "lora-base")  # "lora" in a path means nothing
    model = load_model(tmp_path / "lora-base", adapter=tmp_path / "factory", device="cpu")
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(logits(load_model(tmp_path / "lora-base", device="cpu")), logits(build_stand_in()))


def test_the_folder_that_the_lora_recipe_leaves_is_read_whole(adapted, tmp_path):
    folder, expected = adapted
    whole = tmp_path / "recipe"
    build_stand_in().save(whole)
    tensors = load_file(whole / "model.safetensors")
    (whole / "model.safetensors").unlink()
    for file, prefix in PART_FILES.items():
        (whole / file).parent.mkdir()
        part = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        torch.save(part, whole / file)
    factory_layout(folder, whole)
    torch.testing.assert_close(logits(load_model(whole, device="cpu")), expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_in_a_pickle_is_read(base, adapted, tmp_path):
    folder, expected = adapted
    tensors = load_file(folder / "adapter_model.safetensors")
    torch.save(tensors, tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_config.json").write_bytes((folder / "adapter_config.json").read_bytes())
    model = load_model(base, adapter=tmp_path, device="cpu")
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)


def test_only_the_layers_that_the_adapter_holds_are_changed(base, tmp_path):
    model = train(build_stand_in().model.language_model, layers_to_transform=[1], target_modules=["fc1"])
    model.save_pretrained(tmp_path)
    merged = load_model(base, adapter=tmp_path, device="cpu").model.state_dict()
    before = build_stand_in().model.state_dict()
    changed = [name for name, tensor in before.items() if not torch.equal(merged[name], tensor)]
    assert changed == ["language_model.model.layers.1.mlp.fc1.weight"]


def test_folders_that_hold_no_adapter_are_refused(adapted, tmp_path):
    assert refusal(tmp_path) == (
        f"adapter {tmp_path} has no adapter_config.json; give the folder of a PEFT adapter, or a "
        "model that was trained whole as the model"
    )
    (tmp_path / "adapter_config.json").write_bytes((adapted[0] / "adapter_config.json").read_bytes())
    assert "has no adapter_model.safetensors" in refusal(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2}')
    assert "is of type PREFIX_TUNING; only LoRA is supported" in refusal(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "is of type None" in refusal(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    assert "adapter_config.json is not" in refusal(tmp_path)


def test_an_adapter_of_another_model_is_refused(adapted, tmp_path):
    folder = copy_of(adapted[0], tmp_path)
    edit(folder, lambda tensors: {k.replace("layers.3", "layers.7"): t for k, t in tensors.items()})
    assert "changes 'model.layers.7." in refusal(folder)
    copy_of(adapted[0], tmp_path)
    edit(folder, lambda tensors: {k: t[..., :100].contiguous() for k, t in tensors.items()})
    assert "does not fit the model" in refusal(folder)
    copy_of(adapted[0], tmp_path)
    edit(
        folder,
        lambda tensors: {f"{k.replace('base_model.model.', 'vision_tower.')}": t for k, t in tensors.items()},
    )
    assert "which is no LoRA tensor of the language model" in refusal(folder)


def test_an_adapter_with_half_of_a_pair_is_refused(adapted, tmp_path):
    folder = copy_of(adapted[0], tmp_path)
    name = "base_model.model.model.layers.2.mlp.fc1.lora_B.weight"
    edit(folder, lambda tensors: {k: t for k, t in tensors.items() if k != name})
    assert "does not fit the model at" in refusal(folder)


def test_numbers_that_are_not_finite_are_refused(adapted, tmp_path):
    folder = copy_of(adapted[0], tmp_path)
    edit(folder, lambda tensors: {k: t * float("nan") for k, t in tensors.items()})
    assert "does not fit the model" in refusal(folder)


def test_the_rank_and_alpha_are_the_adapters_own(base, tmp_path):
    model = train(build_stand_in().model.language_model, r=2, lora_alpha=7, use_rslora=True)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["lora_alpha"] == 7
    with torch.no_grad():
        expected = model(PROMPT).logits
    torch.testing.assert_close(
        logits(load_model(base, adapter=tmp_path, device="cpu")), expected, rtol=1e-4, atol=1e-4
    )
