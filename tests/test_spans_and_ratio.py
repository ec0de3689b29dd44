"""Which columns are which, and the ratio, against the study's definition written out with whole matrices."""

import numpy as np
import pytest
import torch

from vkit.attention.ratio import REDUCTIONS, ratio_of
from vkit.attention.spans import POLICIES, SHARES, build_segments, output_rows
from vkit.errors import VkitError
from vkit.models.protocol import IMAGE_COLUMN, ImageColumns, Layout


def layout(before=5, image=9, question=(18, 24), prompt=30, output=6, offset=0, second_image=None):
    """BOS and system text, a picture, the user's text, the prompt's last words, the output."""
    token_ids = np.arange(prompt + output)
    images = [ImageColumns(np.arange(before, before + image))]
    if second_image:
        images.append(ImageColumns(np.arange(*second_image)))
    for each in images:
        token_ids[each.columns] = IMAGE_COLUMN
    asked = np.zeros(prompt + output, dtype=bool)
    asked[slice(*question)] = True
    return Layout(token_ids, prompt, tuple(images), asked, offset)


LAYOUTS = {
    "alone": [layout()],
    "image first": [layout(before=0)],
    "two images": [layout(second_image=(16, 18))],
    "batch": [layout(), layout(before=3, prompt=27, output=2), layout(offset=4, prompt=26, output=0)],
}
LENGTH = 40


def random_mass(segments, layouts):
    """Random causal attention of 2 layers and 3 heads, and its masses over the atoms."""
    torch.manual_seed(0)
    attention = torch.rand(2, len(layouts), 3, LENGTH, LENGTH, dtype=torch.float64).tril() ** 3
    attention = attention * (segments.ids >= 0)[:, None, None, :]
    attention = attention / attention.sum(-1, keepdim=True).clamp(min=1e-9)
    atoms = torch.stack([segments.ids == atom for atom in range(segments.num_atoms)], -1).double()
    return attention, torch.einsum("lbhrt,bta->lbhra", attention, atoms)


@pytest.mark.parametrize("rows", ["predicting", "own"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_ratio_is_that_of_the_whole_matrices(name, policy, rows):
    layouts = LAYOUTS[name]
    segments = build_segments(layouts, LENGTH, policy=policy)
    attention, mass = random_mass(segments, layouts)
    chosen = output_rows(layouts, rows)
    index = chosen.clamp(min=0)[None, :, None, :, None].expand(2, -1, 3, -1, segments.num_atoms)
    mass = mass.gather(3, index)
    for item, each in enumerate(layouts):
        ratio = ratio_of(mass, segments, item, each.output_length)
        average = attention[:, item].mean((0, 1)).numpy()
        image = np.concatenate([i.columns for i in each.images]) + each.offset
        end = each.images[-1].columns[-1] + 1
        text = (
            np.arange(end + 1, each.prompt_length - 3) if policy == "study" else np.flatnonzero(each.question)
        )
        text = text + each.offset
        for j in range(each.output_length):
            row = each.offset + each.prompt_length + j - (rows == "predicting")
            v, p = average[row, image].mean(), average[row, text].mean()
            np.testing.assert_allclose(ratio.image_attention[j], v, rtol=1e-12)
            np.testing.assert_allclose(ratio.text_attention[j], p, rtol=1e-12)
            np.testing.assert_allclose(ratio.ratio[j], v / p, rtol=1e-12)
            np.testing.assert_allclose(ratio.shares["first_token"][j], average[row, each.offset], rtol=1e-12)
            np.testing.assert_allclose(
                ratio.shares["generated"][j],
                average[row, each.offset + each.prompt_length :].sum(),
                rtol=1e-10,
                atol=1e-12,
            )
        if each.output_length:
            np.testing.assert_allclose(sum(ratio.shares.values()), 1, rtol=1e-12)
            assert ratio.reduced()["sum"] == pytest.approx(ratio.ratio.sum())
            assert ratio.reduced()["max"] == ratio.ratio.max()
            assert set(ratio.reduced()) == set(REDUCTIONS)
        else:
            assert ratio.reduced() is None


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_real_column_is_in_one_atom_and_every_atom_in_one_share(name):
    layouts = LAYOUTS[name]
    segments = build_segments(layouts, LENGTH)
    for item, each in enumerate(layouts):
        real = torch.zeros(LENGTH, dtype=torch.bool)
        real[each.offset : each.offset + len(each)] = True
        assert torch.equal(segments.ids[item] >= 0, real)
    assert segments.ids.max() == segments.num_atoms - 1
    assert (segments.shares.sum(0) == 1).all()
    assert not (segments.image & segments.text).any()
    assert segments.shares.shape == (len(SHARES), segments.num_atoms)


def test_the_study_leaves_out_the_column_after_the_image_and_the_last_three():
    each = layout()
    segments = build_segments([each], LENGTH, policy="study")
    text = np.flatnonzero(segments.text[segments.ids[0].numpy()] & (segments.ids[0].numpy() >= 0))
    assert text.tolist() == list(range(15, 27))
    assert segments.text_lengths.tolist() == [12]
    assert segments.image_lengths.tolist() == [9]


def test_a_question_that_runs_into_the_output_is_cut_there():
    segments = build_segments([layout(question=(18, 36))], LENGTH, policy="question")
    assert segments.text_lengths.tolist() == [12]


def test_rows_of_shorter_outputs_are_marked():
    layouts = LAYOUTS["batch"]
    assert output_rows(layouts)[:, :3].tolist() == [[29, 30, 31], [26, 27, -1], [-1, -1, -1]]
    assert output_rows(layouts, "own")[1, :3].tolist() == [27, 28, -1]


def test_a_prompt_without_image_or_text_is_refused_by_name():
    without = Layout(np.arange(10), 8, (), np.ones(10, dtype=bool))
    with pytest.raises(VkitError, match="item '7' has no image"):
        build_segments([without], 10, names=["7"])
    bare = layout(question=(0, 0))
    with pytest.raises(VkitError, match=r"no text on the 'question' side.*--spans study"):
        build_segments([bare], LENGTH, policy="question")
    with pytest.raises(VkitError, match=r"no text on the 'study' side.*--spans question"):
        build_segments([layout(image=24)], LENGTH)


def test_a_token_without_weight_on_the_text_has_no_ratio():
    each = layout()
    segments = build_segments([each], LENGTH)
    _, mass = random_mass(segments, [each])
    mass = mass[:, :, :, 29:35].clone()
    mass[:, 0, :, 2][..., torch.from_numpy(segments.text)] = 0
    ratio = ratio_of(mass, segments, 0, 6)
    assert np.isnan(ratio.ratio).tolist() == [False, False, True, False, False, False]
    assert ratio.reduced() is None
