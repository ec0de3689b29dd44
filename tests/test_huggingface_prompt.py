"""Question columns under the tokenizers of real families: bytes, SentencePiece's blanks, normalised text."""

from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from tests.tiny_checkpoints import FAMILIES, write_checkpoint
from vkit.models.huggingface_prompt import PromptWriter, recording_processor
from vkit.models.protocol import Picture, Request, Text

IMAGE_ID = 1
SENTENCES = [
    "USER: Find the measure of the angle. ASSISTANT: x = 3.",
    "In triangle ABC, ∠ABC = 30°, find x. Größe des Winkels? 求角度。",
]
PICTURE = Picture(Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)))


def bytes_tokenizer():
    """As Qwen's, GPT's and Llama 3's: pairs of bytes; a letter beyond ASCII may be several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=alphabet, special_tokens=["<eos>", "<image>"]
    )


def blanks_tokenizer():
    """As Llama's and Gemma's: a blank is a letter, and one is put before the text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = ["<eos>", "<image>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return tokenizer, trainers.BpeTrainer(vocab_size=400, special_tokens=specials)


@pytest.fixture(params=[bytes_tokenizer, blanks_tokenizer], ids=["bytes", "blanks"])
def writer(request, tmp_path):
    tokenizer, trainer = request.param()
    tokenizer.train_from_iterator(SENTENCES[:1] if request.param is bytes_tokenizer else SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken("<image>", special=True, normalized=False)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    assert fast.convert_tokens_to_ids("<image>") == IMAGE_ID
    folder = write_checkpoint("llava", tmp_path)
    processor = recording_processor(LlavaProcessor)(
        AutoImageProcessor.from_pretrained(folder, backend="pil"),
        fast,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=FAMILIES["llava"]["template"],
    )
    return PromptWriter(processor, IMAGE_ID)


@pytest.mark.parametrize(
    "question",
    [
        "Find the measure of the angle.",
        "In triangle ABC, ∠ABC = 30°, find x. 😀",
        "Gro\u0308ße des Winkels?",  # o and its dots apart, which NFC joins
        " leading and trailing ",
        "x",
        "line\n\nbreaks\tand  blanks",
    ],
)
def test_question_columns_are_the_tokens_of_the_question(writer, question):
    before, after = "First: ", " Then answer.\nUSER"
    said = Request("r", (Text(before), Text(question, question=True), Text(after), PICTURE))
    (prompt,), tensors = writer.write([said])
    assert [len(columns) for columns in prompt.images] == [9]
    assert set(tensors) == {"pixel_values"}
    columns = np.flatnonzero(prompt.question)
    assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))

    def text_of(ids):
        return writer.tokenizer.decode(ids, clean_up_tokenization_spaces=False)

    found, left, right = (
        text_of(ids) for ids in (prompt.ids[columns], prompt.ids[: columns[0]], prompt.ids[columns[-1] + 1 :])
    )
    # A token may hold a blank of what stands beside the question, and no more than that.
    assert normalize("NFC", found).strip(" ") == normalize("NFC", question).strip(" ")
    assert left.rstrip(" ").endswith("First:")
    assert right.lstrip(" ").startswith("Then answer.")


def test_a_blank_of_the_question_does_not_take_in_the_word_after_it(writer):
    (prompt,), _ = writer.write([Request("r", (Text("Find the ", question=True), Text("angle."), PICTURE))])
    assert "angle" not in writer.tokenizer.decode(prompt.ids[prompt.question])
    assert writer.tokenizer.decode(prompt.ids[prompt.question]).strip() == "Find the"


def test_a_text_of_several_parts_is_tokenised_as_one(writer):
    parts = (Text("Find the "), Text("mea", question=True), Text("sure"), PICTURE)
    (split,), _ = writer.write([Request("split", parts)])
    (whole,), _ = writer.write([Request("whole", (Text("Find the measure"), PICTURE))])
    assert split.ids.tolist() == whole.ids.tolist()
    touched = writer.tokenizer.decode(split.ids[split.question])
    assert "mea" in touched  # with the rest of a token that reaches over the border
    assert touched.strip() in "measure"


def test_pictures_of_one_prompt_and_of_a_batch_keep_their_own_columns(writer):
    one = Request("one", (PICTURE, Text("x")))
    two = Request("two", (PICTURE, Text("a "), PICTURE, Text("b")))
    prompts, tensors = writer.write([one, two])
    assert [[len(c) for c in prompt.images] for prompt in prompts] == [[9], [9, 9]]
    assert len(tensors["pixel_values"]) == 3
    for prompt in prompts:
        assert (prompt.ids[np.concatenate(prompt.images)] == IMAGE_ID).all()
