from __future__ import annotations

import pytest
import torch
from torch import nn

from knowledge_plugin.errors import AttachmentError
from knowledge_plugin.injection.attention_hook import KeysAndValues, _check, _text_scores


class Attention(nn.Module):
    is_causal = True


def _qkv(queries=4, keys=4, heads=2, groups=1):
    generator = torch.Generator().manual_seed(0)
    draw = lambda n, h: torch.randn(1, h, n, 8, generator=generator)  # noqa: E731
    return draw(queries, heads), draw(keys, heads // groups), draw(keys, heads // groups)


def _attend(q, k, v, mask, **kwargs):
    scores, value = _text_scores(Attention(), q, k, v, mask, kwargs)
    return scores.softmax(-1) @ value


@pytest.mark.parametrize("groups", [1, 2])
def test_without_a_mask_it_is_causal(groups):
    q, k, v = _qkv(groups=groups)
    expected = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=groups > 1)
    torch.testing.assert_close(_attend(q, k, v, None), expected)


def test_one_token_sees_all_before_it():
    q, k, v = _qkv(queries=1, keys=5)
    torch.testing.assert_close(_attend(q, k, v, None), nn.functional.scaled_dot_product_attention(q, k, v))


def test_room_that_a_static_cache_has_not_filled_is_not_looked_at():
    q, k, v = _qkv(queries=3, keys=9)
    expected = nn.functional.scaled_dot_product_attention(q, k[:, :, :3], v[:, :, :3], is_causal=True)
    torch.testing.assert_close(_attend(q, k, v, None), expected)


@pytest.mark.parametrize("as_numbers", [True, False])
def test_masks_of_both_kinds(as_numbers):
    q, k, v = _qkv()
    mask = torch.ones(1, 1, 4, 6, dtype=torch.bool).tril()  # longer than the keys, as a static cache has it
    mask[..., 1] = False
    given = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min) if as_numbers else mask
    expected = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[..., :4])
    torch.testing.assert_close(_attend(q, k, v, given), expected)


def test_scaling_cap_and_bias():
    q, k, v = _qkv()
    bias = torch.randn(1, 2, 4, 4)
    scores, _ = _text_scores(Attention(), q, k, v, None, {"scaling": 0.5, "softcap": 2.0, "position_bias": bias})
    expected = 2 * torch.tanh((q @ k.transpose(2, 3)) * 0.5 / 2) + bias
    seen = torch.ones(4, 4, dtype=torch.bool).tril()
    torch.testing.assert_close(scores[..., seen], expected[..., seen])
    assert bool((scores[..., ~seen] == -torch.inf).all())


@pytest.mark.parametrize(
    ("mask", "kwargs", "width", "said"),
    [
        (torch.ones(1, 4), {}, 8, "sdpa"),
        (None, {"s_aux": torch.ones(2)}, 8, "sinks"),
        (None, {}, 4, "wide where keys are not"),
    ],
)
def test_attention_of_another_kind_is_refused(mask, kwargs, width, said):
    entries = [KeysAndValues(torch.zeros(2, 3, 8), torch.zeros(2, 3, width))]
    with pytest.raises(AttachmentError, match=said):
        _check(Attention(), torch.zeros(1, 2, 4, 8), mask, kwargs, entries)
