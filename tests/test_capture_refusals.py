"""A model or a feature that `capture` cannot measure exactly is refused by name, before a number is read."""

import pytest
import torch
import transformers
from tiny_vlms import IMAGE_TOKEN, TEXT, VISION, build

from vkit.attention.capture import capture
from vkit.errors import VkitError

IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])
SEGMENTS = torch.tensor([[0, 0, 1, 1, 2, -1]])


def language_model(config):
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def refused(model, match, *, segment_ids=SEGMENTS, forward=None, **options):
    """Capture a forward of the model and expect one line of refusal; the model is as before."""
    before = [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]
    with (
        pytest.raises(VkitError, match=match) as error,
        torch.no_grad(),
        capture(model, segment_ids, **options),
    ):
        forward() if forward else model(input_ids=IDS)
    assert "\n" not in str(error.value)
    assert before == [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]


# Models ---------------------------------------------------------------------------------------------------


def test_images_seen_by_cross_attention():
    config = transformers.MllamaConfig(
        vision_config=dict(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_global_layers=1, attention_heads=2,
            image_size=16, patch_size=4, vision_output_dim=48, intermediate_layers_indices=[0, 1],
            supported_aspect_ratios=[[1, 1]],
        ),
        text_config=dict(
            **TEXT, cross_attention_layers=[1],
            rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        ),
    )  # fmt: skip
    refused(
        transformers.MllamaForConditionalGeneration(config), "MllamaTextModel sees images by cross-attention"
    )


def test_encoder_decoders():
    config = transformers.BartConfig(
        vocab_size=160, d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16,
        decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    refused(transformers.BartForConditionalGeneration(config), "BartDecoder belongs to an encoder-decoder")


def test_attention_sinks():
    config = transformers.GptOssConfig(
        **TEXT, head_dim=8, num_local_experts=2, num_experts_per_tok=1, sliding_window=4
    )
    refused(language_model(config), r"layers.0.self_attn \(GptOssAttention\) uses s_aux")


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (
            lambda: transformers.Qwen3NextConfig(
                **TEXT, head_dim=8, linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=8,
                linear_value_head_dim=8, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8,
                shared_expert_intermediate_size=8,
            ),
            "linear_attention",
        ),
        (
            lambda: transformers.FalconH1Config(
                **TEXT, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_n_groups=1, mamba_d_state=8
            ),
            "hybrid",
        ),
        (
            lambda: transformers.Lfm2Config(**TEXT, layer_types=["conv", "full_attention", "conv"]),
            "conv",
        ),
    ],
    ids=["qwen3-next", "falcon-h1", "lfm2"],
)  # fmt: skip
def test_layers_that_are_not_softmax_attention(config, kind):
    refused(language_model(config()), rf"layers beyond softmax attention \({kind}\)")


def test_a_vision_language_model_over_a_hybrid_decoder():
    config = transformers.Lfm2VlConfig(
        text_config=transformers.Lfm2Config(**TEXT, layer_types=["conv", "full_attention", "conv"]),
        vision_config=transformers.Siglip2VisionConfig(
            **{k: v for k, v in VISION.items() if k != "image_size"}, num_patches=16
        ),
        image_token_id=IMAGE_TOKEN,
    )
    model = transformers.Lfm2VlForConditionalGeneration(config)
    refused(model, r"Lfm2Model has layers beyond softmax attention \(conv\)")


def test_decoders_that_hold_a_vision_tower():
    """GIT's vision tower uses transformers' AttentionInterface and its text layers do not."""
    size = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    vision = dict(**size, image_size=8, patch_size=4)
    model = transformers.GitForCausalLM(transformers.GitConfig(vision_config=vision, vocab_size=160, **size))
    refused(model, r"GitModel holds more than a language decoder \(GitVisionConfig\)")


def test_models_that_do_not_use_the_attention_interface():
    config = transformers.BloomConfig(vocab_size=160, hidden_size=16, n_layer=2, n_head=2)
    refused(language_model(config), "BloomModel has 2 layers and 0 showed their attention")


def test_attention_that_is_a_difference_of_softmaxes():
    refused(language_model(transformers.DiffLlamaConfig(**TEXT)), r"DiffLlamaAttention\) attends twice")


def test_objects_without_a_decoder():
    with (
        pytest.raises(VkitError, match="Linear has no transformers decoder"),
        capture(torch.nn.Linear(2, 2), IDS),
    ):
        pass


def test_heads_beyond_the_kernels_limit():
    config = transformers.LlamaConfig(**{**TEXT, "num_hidden_layers": 1, "head_dim": 264})
    refused(language_model(config), "heads of 264, over the limit of 256")


# Features -------------------------------------------------------------------------------------------------


def test_arguments_that_might_change_the_weights():
    model = build("llama").model
    refused(model, "LlamaAttention.* uses alibi", forward=lambda: model(input_ids=IDS, alibi=torch.ones(4)))


def test_masks_that_add_a_bias():
    model = build("llama").model
    bias = -torch.arange(6.0).expand(1, 1, 6, 6)
    refused(model, "adds a bias", forward=lambda: model(input_ids=IDS, attention_mask=bias))


def test_dropout_on_the_weights():
    model = language_model(transformers.LlamaConfig(**TEXT, attention_dropout=0.1)).train()
    refused(model, r"drops attention weights \(dropout 0.1\)")


def test_gradient_checkpointing_in_training():
    model = build("llama").model.train()
    model.model.layers[0].gradient_checkpointing = True
    refused(model, "trains with gradient checkpointing")


def test_compiled_models():
    model = build("llama").model
    model.model.layers[1].compile()
    refused(model, "LlamaModel is compiled at layers.1")


@torch.no_grad()
def test_layers_that_compute_only_the_kept_queries_never_shift_the_rows():
    """Gemma 4's last layers drop the queries whose logits nobody keeps (newer transformers)."""
    config = transformers.Gemma4TextConfig(
        **{**TEXT, "num_hidden_layers": 4}, head_dim=8, global_head_dim=8, sliding_window=4,
        hidden_size_per_layer_input=8, vocab_size_per_layer_input=160, num_kv_shared_layers=2,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )  # fmt: skip
    model = language_model(config)
    with capture(model, SEGMENTS, torch.tensor([1])) as whole:
        model(input_ids=IDS)
    refusal = ""
    try:
        with capture(model, SEGMENTS, torch.tensor([1])) as record:
            model(input_ids=IDS, logits_to_keep=3)
    except VkitError as error:
        refusal = str(error)
    if refusal:
        assert "layers.2.self_attn (Gemma4TextAttention) computes only 3 of 6 queries" in refusal
    else:
        assert torch.equal(record.mass, whole.mass)


# Uses -----------------------------------------------------------------------------------------------------


def test_no_forward():
    refused(build("llama").model, "ran no forward", forward=lambda: None)


def test_two_forwards():
    model = build("llama").model
    refused(model, "second forward", forward=lambda: [model(input_ids=IDS) for _ in range(2)])


def test_generation():
    model = build("llama").model
    refused(model, "segment_ids are|second forward", forward=lambda: model.generate(IDS, max_new_tokens=3))


def test_a_second_capture_of_the_same_model():
    model = build("llama").model
    with torch.no_grad(), capture(model, SEGMENTS) as record:
        with pytest.raises(VkitError, match="under capture already"), capture(model.get_decoder(), SEGMENTS):
            pass
        model(input_ids=IDS)
    assert record.mass.shape == (3, 1, 4, 6, 3)


@pytest.mark.parametrize(
    ("segment_ids", "match"),
    [
        (SEGMENTS[:, :5], r"6 keys, segment_ids are \(1, 5\)"),
        (SEGMENTS.expand(2, -1), r"1 items of 6 keys, segment_ids are \(2, 6\)"),
        (SEGMENTS[0], r"integers \(B, T\); got \(6,\) int64"),
        (SEGMENTS.float(), "got .* float32"),
        (SEGMENTS - 1, "-1..1 and name a segment; got -2..1"),
        (SEGMENTS.clamp(max=-1), "got -1..-1"),
    ],
)
def test_segment_ids_that_do_not_fit(segment_ids, match):
    refused(build("llama").model, match, segment_ids=segment_ids)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (torch.tensor([2, 6]), "has 6 queries; row 6 does not exist"),
        (torch.tensor([-2]), "rows must be -1"),
        (torch.tensor([[1], [2]]), r"rows must be integers \(R,\) or \(1, R\); got \(2, 1\) int64"),
        (torch.tensor([1.0]), "float32"),
        (torch.tensor([], dtype=torch.long), r"\(0,\)"),
    ],
)
def test_rows_that_do_not_fit(rows, match):
    refused(build("llama").model, match, rows=rows)


def test_a_segment_beyond_their_number():
    refused(build("llama").model, r"-1\.\.1 and name a segment; got -1\.\.2", num_segments=2)


def test_a_map_that_was_not_asked_for():
    model = build("llama").model
    with torch.no_grad(), capture(model, SEGMENTS) as record:
        model(input_ids=IDS)
    with pytest.raises(VkitError, match="capture with maps=True"):
        _ = record.mean_map
