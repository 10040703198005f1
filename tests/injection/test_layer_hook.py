from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from knowledge_plugin.config import LayerInjectionConfig
from knowledge_plugin.injection.layer_hook import Forward, LayerHook
from knowledge_plugin.injection.network import Network
from knowledge_plugin.injection.placement import PlacedIndex


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.layer = nn.Embedding(4, 2), nn.Identity()

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask=None):
        return self.layer(self.words(input_ids))


@pytest.fixture
def hook(kb):
    return LayerHook(PlacedIndex(kb), Network(), LayerInjectionConfig("x", [0], 1))


@torch.no_grad()
def test_a_forward_knows_its_mask_and_leaves_nothing_behind(hook):
    model, seen = Model(), []
    hook.attach(model)
    model.layer.register_forward_hook(lambda *_: seen.append(hook.forward))
    model(torch.tensor([[1, 2]]), attention_mask=torch.tensor([[1, 0]]))
    model(torch.tensor([[1, 2], [3, 3]]))
    assert seen[0].mask.tolist() == [[True, False]]
    assert (seen[1].mask, seen[1].texts) == (None, 2)
    assert hook.forward is not hook.forward  # between calls there is none: each is a fresh one


def test_a_text_is_padded_once_more_by_some_models(hook):
    hook._local.forward = Forward(mask=torch.tensor([[True, True, False]]))
    assert hook.mask_of(torch.zeros(1, 5, 2)).tolist() == [[True, True, False, False, False]]
    assert hook.mask_of(torch.zeros(3, 5, 2)) is None


def test_showing_nothing_switches_it_off(hook):
    assert hook.is_on
    with hook.showing(torch.tensor([], dtype=torch.int64)):
        assert not hook.is_on
    with hook.showing(torch.tensor([1])):
        assert hook.is_on
        assert hook.shown_rows().tolist() == [1]
    assert hook.shown_rows() is None


def test_the_loss_of_look_ups_is_a_cross_entropy_where_somebody_knows(hook):
    scores = torch.tensor([[[0.0, math.log(3.0)]], [[5.0, -5.0]]])  # two texts, each asks once, two entries
    loss = hook.lookup_loss(Forward(scores=[scores]), torch.tensor([[1], [-100]]))
    assert float(loss) == pytest.approx(-math.log(0.75))
    # Places of a decoder are of no use where the text asks as a whole: any of them says which entry.
    assert float(hook.lookup_loss(Forward(scores=[scores]), torch.tensor([[-100, 1], [-100, -100]]))) == float(loss)
    assert hook.lookup_loss(Forward(scores=[scores]), torch.tensor([[-100], [-100]])) is None


def test_the_best_score_of_each_row_counts(hook):
    one = Forward(scores=[torch.tensor([[[0.5, 0.1]]])], rows=[torch.tensor([[[3, 4]]])])
    two = Forward(scores=[torch.tensor([[[0.2, 0.7]]])], rows=[torch.tensor([3, 5])])
    assert hook.found_by([one, two]) == pytest.approx({3: 0.5, 4: 0.1, 5: 0.7})
