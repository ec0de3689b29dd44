"""Frozen backbones: transformers' own numbers, every token of a text, and the same numbers in every batch."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # older ones hide it at the top

from vkit.errors import VkitError
from vkit.models.backbones import load_backbones, load_text, load_vision
from vkit.models.tiny import build_trained

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
POSITIONS = 64  # of SigLIP's text tower
WORDS = [f"w{i}" for i in range(120)]


def random_images(count, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(40 + 7 * (i % 3), 30 + 5 * (i % 4), 3) for i in range(count)]
    return [Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)) for shape in shapes]


def write_tokenizer(folder, template, special, **options):
    """One token a word; ``special`` tokens from 0 on, placed as ``template`` says."""
    vocabulary = {token: i for i, token in enumerate([*special, *WORDS, "a", "?"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        template, special_tokens=[(token, i) for i, token in enumerate(special)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?", **options).save_pretrained(folder)


def write_images(folder, kind, **settings):
    content = {"image_processor_type": kind, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


def dinov2(folder):
    """As facebook/dinov2-base: a class token, the shorter side to 28, the centre of 24."""
    transformers.Dinov2Model(transformers.Dinov2Config(**SIZES, image_size=24, patch_size=8)).save_pretrained(
        folder
    )
    write_images(
        folder,
        "BitImageProcessor",
        size={"shortest_edge": 28},
        crop_size={"height": 24, "width": 24},
        do_center_crop=True,
    )


def siglip(folder):
    """As google/siglip-base-patch16-224: two towers, 64 positions, padded with the end token."""
    config = transformers.SiglipConfig(
        text_config=dict(
            **SIZES, vocab_size=130, max_position_embeddings=POSITIONS, pad_token_id=0, projection_size=32
        ),
        vision_config=dict(**SIZES, image_size=24, patch_size=8),
    )
    transformers.SiglipModel(config).save_pretrained(folder)
    write_images(folder, "SiglipImageProcessor", size={"height": 24, "width": 24})
    write_tokenizer(
        folder, "$A </s>", ["</s>"], pad_token="</s>", eos_token="</s>", model_max_length=POSITIONS
    )


def clip(folder):
    config = transformers.CLIPConfig(
        text_config=dict(**SIZES, vocab_size=130, max_position_embeddings=77, eos_token_id=1),
        vision_config=dict(**SIZES, image_size=24, patch_size=8),
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    square = {"height": 24, "width": 24}
    write_images(folder, "CLIPImageProcessor", size={"shortest_edge": 24}, crop_size=square)
    write_tokenizer(folder, "<s> $A </s>", ["<s>", "</s>"], pad_token="</s>", model_max_length=77)


def vit(folder):
    """A classifier: the pooler that the bare model has is not among its weights."""
    config = transformers.ViTConfig(**SIZES, image_size=24, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    write_images(folder, "ViTImageProcessor", size={"height": 24, "width": 24})


def resnet(folder):
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    transformers.ResNetModel(config).save_pretrained(folder)
    write_images(folder, "ViTImageProcessor", size={"height": 32, "width": 32})


def bert(folder):
    config = transformers.BertConfig(**SIZES, vocab_size=130, max_position_embeddings=128)
    transformers.BertModel(config).save_pretrained(folder)
    write_tokenizer(
        folder, "[CLS] $A [SEP]", ["[PAD]", "[CLS]", "[SEP]"], pad_token="[PAD]", model_max_length=128
    )


LAYOUTS = (dinov2, siglip, clip, vit, resnet, bert)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A folder for each layout, by its name."""
    root = tmp_path_factory.mktemp("checkpoints")
    for seed, write in enumerate(LAYOUTS):
        torch.manual_seed(seed)
        (root / write.__name__).mkdir()
        write(root / write.__name__)
    return root


# Pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "tokens"),
    [
        ("dinov2", "Dinov2Model", 10),
        ("siglip", "SiglipVisionModel", 9),
        ("clip", "CLIPVisionModel", 10),
        ("vit", "ViTModel", 10),
    ],
)
def test_tokens_are_the_last_states_that_transformers_gives(checkpoints, name, kind, tokens):
    """DINOv2, CLIP and ViT with their class token; SigLIP has none."""
    folder = checkpoints / name
    images = random_images(5)
    reference = getattr(transformers, kind).from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.no_grad():
        expected = reference(**processor(images=images, return_tensors="pt")).last_hidden_state
    backbone = load_vision(folder, device="cpu")
    pooled, states = backbone.encode(images)
    assert (backbone.tokens, backbone.size) == (tokens, 32)
    torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(pooled, expected.mean(dim=1), rtol=1e-5, atol=1e-5)


def test_the_cells_of_a_convolutional_network_are_its_tokens(checkpoints):
    images = random_images(3)
    reference = transformers.ResNetModel.from_pretrained(checkpoints / "resnet").eval()
    processor = AutoImageProcessor.from_pretrained(checkpoints / "resnet", backend="pil")
    with torch.no_grad():
        expected = reference(**processor(images=images, return_tensors="pt"))
    backbone = load_vision(checkpoints / "resnet", device="cpu")
    pooled, states = backbone.encode(images)
    assert states.shape == (3, backbone.tokens, 16)
    torch.testing.assert_close(pooled, expected.pooler_output.flatten(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "tiny-vit", "dinov2", "siglip"])
def test_a_picture_has_the_same_numbers_in_every_batch(checkpoints, name):
    backbone = load_vision(name if "tiny" in name else checkpoints / name, device="cpu", batch_size=8)
    images = random_images(21)
    pooled, tokens = backbone.encode(images)
    for chosen in ([20], [3, 0, 17], list(range(20, 4, -1))):
        for all_of_them, some in zip((pooled, tokens), backbone.encode([images[i] for i in chosen])):
            assert torch.equal(some, all_of_them[chosen])


def test_several_threads_change_no_more_than_rounding(checkpoints):
    backbone = load_vision(checkpoints / "siglip", device="cpu", batch_size=8)
    images = random_images(21)
    pooled, _ = backbone.encode(images)
    torch.set_num_threads(2)
    try:
        others, _ = backbone.encode(images[::-1])
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(others.flip(0), pooled, rtol=1e-4, atol=1e-5)


def test_tiny_sees_with_the_trained_tower_of_the_preset():
    images = random_images(3)
    preset = build_trained()
    pixels = torch.stack([torch.from_numpy(preset.images.pixel_values(image)) for image in images])
    with torch.no_grad():
        expected = preset.model.vision_tower(pixels)
    torch.testing.assert_close(load_vision("tiny", device="cpu").encode(images)[1], expected)


def test_pictures_whose_pixels_differ_in_shape_are_refused(checkpoints, tmp_path):
    shutil.copytree(checkpoints / "dinov2", tmp_path / "model")
    write_images(tmp_path / "model", "BitImageProcessor", size={"shortest_edge": 24}, do_center_crop=False)
    with pytest.raises(VkitError, match="pictures of a fixed size"):
        load_vision(tmp_path / "model", device="cpu").encode([Image.new("RGB", (30, 90))])


# Texts -----------------------------------------------------------------------------------------------------


def sentence(count, start=0):
    return " ".join(WORDS[(start + i) % len(WORDS)] for i in range(count))


def test_siglip_reads_a_text_padded_to_its_positions_as_it_was_trained(checkpoints):
    texts = [sentence(5), sentence(63, 9)]
    reference = transformers.SiglipTextModel.from_pretrained(checkpoints / "siglip").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoints / "siglip")
    ids = tokenizer(texts, padding="max_length", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = reference(input_ids=ids).last_hidden_state
    states, mask = load_text(checkpoints / "siglip", device="cpu").encode(texts)
    assert mask.sum(dim=1).tolist() == [6, 64]
    torch.testing.assert_close(states[0, :6], expected[0, :6], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(states[1], expected[1], rtol=1e-5, atol=1e-5)
    assert not states[0, 6:].any()


@pytest.mark.parametrize("name", ["bert", "clip"])
def test_padding_is_not_seen_by_other_families(checkpoints, name):
    """Their states equal those of each text alone, unpadded."""
    kind = {"bert": "BertModel", "clip": "CLIPTextModel"}[name]
    reference = getattr(transformers, kind).from_pretrained(checkpoints / name).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoints / name)
    texts = [sentence(3), sentence(40, 7), sentence(1, 2)]
    states, mask = load_text(checkpoints / name, device="cpu").encode(texts)
    for row, text in enumerate(texts):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = reference(input_ids=ids).last_hidden_state[0]
        assert mask[row].tolist() == [column < len(expected) for column in range(mask.shape[1])]
        torch.testing.assert_close(states[row][mask[row]], expected, rtol=1e-5, atol=1e-5)


def test_a_text_longer_than_the_positions_is_read_in_windows_and_keeps_every_token(checkpoints):
    backbone = load_text(checkpoints / "siglip", device="cpu")
    text = sentence(109)  # with its end token 110: windows of 55 and 54 words
    states, mask = backbone.encode([text, sentence(2)])
    first, _ = backbone.encode([sentence(55)])
    second, _ = backbone.encode([sentence(54, 55)])
    assert backbone.length(text) == mask[0].sum() == 110
    assert torch.equal(states[0], torch.cat([first[0, :55], second[0]]))  # one end token, the text's


def test_windows_have_start_and_end_tokens_but_the_text_only_one_of_each(checkpoints):
    backbone = load_text(checkpoints / "clip", device="cpu")  # 77 positions, two of them for these
    states, _ = backbone.encode([sentence(100)])
    first, second = (backbone.encode([sentence(50, start)])[0][0] for start in (0, 50))
    assert torch.equal(states[0], torch.cat([first[:51], second[1:]]))


@pytest.mark.parametrize("name", ["siglip", "bert", "tiny"])
def test_a_text_of_more_than_110_tokens_is_refused(checkpoints, name):
    backbone = load_text(name if name == "tiny" else checkpoints / name, device="cpu")
    with pytest.raises(VkitError, match=r"text 'w0 w1 .* has \d+ tokens .* more than 110; shorten it"):
        backbone.encode([sentence(1), sentence(111)])


def test_an_empty_text_is_its_end_token(checkpoints):
    states, mask = load_text(checkpoints / "siglip", device="cpu").encode(["", sentence(2)])
    assert mask.sum(dim=1).tolist() == [1, 3]
    assert torch.isfinite(states).all()


@pytest.mark.parametrize("name", ["tiny", "bert"])
def test_a_text_has_the_same_numbers_in_every_batch(checkpoints, name):
    backbone = load_text(name if name == "tiny" else checkpoints / name, device="cpu", batch_size=4)
    texts = [sentence(1 + i % 5, i) for i in range(11)]
    states, mask = backbone.encode(texts)
    alone, _ = backbone.encode(texts[7:8])
    assert torch.equal(alone[0], states[7][mask[7]])


def test_tiny_tells_words_and_their_order_apart():
    backbone = load_text("tiny", device="cpu")
    texts = ["3 red and 4 blue", "4 red and 3 blue", "3 red and 5 blue"]
    means = [state[row].mean(dim=0) for state, row in zip(*backbone.encode(texts))]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (means[i] - means[j]).norm() > 0.05 * means[i].norm()


# Frozen, and named by what they are ------------------------------------------------------------------------


def test_nothing_of_a_backbone_trains(checkpoints):
    loaded = load_backbones([str(checkpoints / "dinov2"), "tiny-vit"], "tiny", device="cpu")
    assert loaded.vision_sizes == (32, 128)
    for backbone in (*loaded.vision, loaded.text):
        assert not any(parameter.requires_grad for parameter in backbone._model.parameters())
        assert not any(module.training for module in backbone._model.modules())
    assert not loaded.vision[0].encode(random_images(1))[0].requires_grad


@pytest.mark.parametrize("load", [load_vision, load_text])
def test_the_digest_is_of_the_content_not_of_the_place(checkpoints, tmp_path, load):
    shutil.copytree(checkpoints / "siglip", tmp_path / "copy")
    digests = {load(folder, device="cpu").digest for folder in (checkpoints / "siglip", tmp_path / "copy")}
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["vit", "bert"])
def test_weights_that_are_never_read_are_not_in_the_digest(checkpoints, name):
    """ViT's classifier lacks the pooler: transformers fills it in at random each time."""
    load = load_text if name == "bert" else load_vision
    assert load(checkpoints / name, device="cpu").digest == load(checkpoints / name, device="cpu").digest


@pytest.mark.parametrize(
    ("file", "old", "new", "load"),
    [
        ("preprocessor_config.json", '"height": 24, "width"', '"width": 24, "height"', None),
        ("preprocessor_config.json", '"size"', '"image_mean": [0.4, 0.5, 0.5], "size"', load_vision),
        ("config.json", '"hidden_act": "gelu_pytorch_tanh"', '"hidden_act": "relu"', load_vision),
        ("config.json", '"hidden_act": "gelu_pytorch_tanh"', '"hidden_act": "relu"', load_text),
        ("tokenizer.json", '"w1"', '"W1"', load_text),
    ],
)
def test_a_changed_setting_changes_the_digest(checkpoints, tmp_path, file, old, new, load):
    folder = tmp_path / "changed"
    shutil.copytree(checkpoints / "siglip", folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    before, after = ((load or load_vision)(f, device="cpu").digest for f in (checkpoints / "siglip", folder))
    assert (before == after) == (load is None)


@pytest.mark.parametrize("load", [load_vision, load_text])
def test_a_changed_weight_changes_the_digest(checkpoints, tmp_path, load):
    model = transformers.SiglipModel.from_pretrained(checkpoints / "siglip")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.view(-1)[0] += 1e-3
    shutil.copytree(checkpoints / "siglip", tmp_path / "changed")
    model.save_pretrained(tmp_path / "changed")
    assert (
        load(checkpoints / "siglip", device="cpu").digest != load(tmp_path / "changed", device="cpu").digest
    )


# Refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "name", "reason"),
    [
        (load_vision, "bert", "is no vision encoder"),
        (load_text, "dinov2", "is no text encoder"),
        (load_vision, "nowhere", "cannot be loaded"),
        (load_text, "nowhere", "cannot be loaded"),
    ],
)
def test_what_is_no_backbone_is_refused_in_one_line(checkpoints, load, name, reason):
    with pytest.raises(VkitError, match=reason) as error:
        load(checkpoints / name, device="cpu")
    assert "\n" not in str(error.value)


def test_a_checkpoint_that_lacks_weights_is_refused(checkpoints, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoints / "dinov2", tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors.pop("layernorm.weight")
    save_file(tensors, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VkitError, match=r"lacks 1 weights \(layernorm.weight\)"):
        load_vision(tmp_path / "model", device="cpu")


def test_an_encoder_with_a_decoder_is_refused(tmp_path):
    config = transformers.T5Config(
        vocab_size=130, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    transformers.T5Model(config).save_pretrained(tmp_path)
    write_tokenizer(tmp_path, "$A </s>", ["</s>"], pad_token="</s>")
    with pytest.raises(VkitError, match="choose an encoder alone"):
        load_text(tmp_path, device="cpu")


def test_no_image_encoder_is_refused():
    with pytest.raises(VkitError, match="no image encoder is named"):
        load_backbones([], "tiny")
