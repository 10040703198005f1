"""A frozen classifier whose answers can be worked out by hand, and knowledge that it lacks.

It adds up its word embeddings and looks at the first number alone: above zero is class 1. Ordinary words say nothing
there, but for "wide" (class 1) and "river" (class 0). The mapping puts the first number of an entity's vector there.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from tests import tiny

WORDS = ["paris", "museum", "mayor", "train", "vienna", "harbour"]
NAMES = [f"{a} {b}" for a in WORDS for b in WORDS if a != b]
N = len(NAMES)


class BagConfig(PreTrainedConfig):
    model_type = "bag"


class Bag(PreTrainedModel):
    config_class = BagConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, 4)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, config.num_labels)
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        words = self.dropout(self.words(input_ids)) * attention_mask.unsqueeze(-1)
        return SequenceClassifierOutput(logits=self.head(words.sum(1)))


def bag(tokenizer, labels=2):
    """Return the classifier; with three labels, the last is never the answer; with one, the number itself is."""
    model = Bag(BagConfig(vocab_size=len(tokenizer), num_labels=labels)).eval()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        model.words.weight.copy_(torch.randn(len(tokenizer), 4, generator=generator))
        model.words.weight[:, 0] = 0
        for word, number in (("wide", 5.0), ("river", -5.0)):
            (token,) = tokenizer(word, add_special_tokens=False).input_ids
            model.words.weight[token, 0] = number
        model.head.weight.zero_()
        model.head.weight[min(1, labels - 1), 0] = 1.0
        model.head.bias.zero_()
        if labels > 1:
            model.head.bias[0] = 0.5
            model.head.bias[2:] = -100
    return model


def knowledge(described=True):
    """Return entities of which every second one is of class 1, as the first number of its vector says."""
    vectors = torch.randn(N, 3, generator=torch.Generator().manual_seed(1))
    vectors[:, 0] = torch.tensor([1.0 if label_of(i) else -1.0 for i in range(N)])
    entities = [
        Entity(f"x:{i}", name, description=("it is wide" if label_of(i) else "it is a river") if described else None)
        for i, name in enumerate(NAMES)
    ]
    return KnowledgeBase.from_entities(entities, vectors, name="towns")


def label_of(number):
    return number % 2


def plugin_for(model, kb, strength=2.0):
    """Return a plugin whose mapping puts the first number of a vector where the classifier looks, times strength."""
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    (layer,) = plugin.mapping.layers
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[0, 0] = strength
    return plugin


def rows(sentences=2):
    """Return sentences about every entity, whose labels only the vectors (or the descriptions) know."""
    frames = ["the town of {} opened last spring", "she moved to {}", "every morning in {} a house stops"]
    return [
        {"text": frames[k].format(name), "label": label_of(i)} for k in range(sentences) for i, name in enumerate(NAMES)
    ]


def tokenizer():
    return tiny.tokenizer("wordpiece")
