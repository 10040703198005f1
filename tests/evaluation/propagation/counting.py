"""Language models whose probabilities can be worked out by hand, and probes whose answers only a definition tells.

A model counts words: the more often a word stands in what it reads, the likelier it is in a blank. Each time is worth
``WORTH`` to its logit; a decoder counts what stands before a place, the other two everything. The mapping makes a
vector the word that it stands for, so that a plugged-in entity is worth as much as a definition with that word in it.
"""

from __future__ import annotations

import json
import math

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutput

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin
from knowledge_plugin.evaluation.propagation import EntityProbe, ProbeSet

WORTH = 3.0
KINDS = ("causal", "masked", "seq2seq")

OPTIONS = ("drama", "comedy", "western", "musical")
NAMES = [f"{a}{b}" for a in ("Zor", "Mel", "Bru", "Tak") for b in ("va", "lin", "dok")]
N = len(NAMES)
WORDS = "is a it was shown and people like what they saw of the in town . / great sad funny wild loud king moon".split()
# What follows from a definition that does not say it: an answer by the word that the definition has.
FOLLOWS = {"sad": "drama", "funny": "comedy", "wild": "western", "loud": "musical"}
POPULAR = ("king", "moon")


class CountingConfig(PreTrainedConfig):
    model_type = "counting"


class Counting(PreTrainedModel):
    """Logits are ``WORTH`` times the count of each word; words that something follows from count for that, too."""

    config_class = CountingConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.vocab_size)
        self.head = nn.Linear(config.vocab_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        words = self.words(input_ids) * attention_mask.unsqueeze(-1)
        if self.config.kind == "causal":
            counts = words.cumsum(1)
        else:
            length = input_ids.shape[1] if labels is None else labels.shape[1]
            counts = words.sum(1, keepdim=True).expand(-1, length, -1)
        return CausalLMOutput(logits=self.head(counts))


class CountingDecoder(Counting, GenerationMixin):
    def prepare_inputs_for_generation(self, *args, **kwargs):
        raise NotImplementedError


def make_tokenizer():
    special = ["[PAD]", "[UNK]", "</s>", "[MASK]", "<extra_id_0>", "<extra_id_1>"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS, *OPTIONS, *NAMES])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.decoder = decoders.WordPiece()
    raw.add_special_tokens(special)
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", eos_token="</s>", mask_token="[MASK]",
        additional_special_tokens=special[4:], model_max_length=64,
    )  # fmt: skip


def make_model(kind, tokenizer):
    cls = CountingDecoder if kind == "causal" else Counting
    config = CountingConfig(vocab_size=len(tokenizer), kind=kind, is_encoder_decoder=kind == "seq2seq")
    model = cls(config).eval()
    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in (*OPTIONS, *FOLLOWS)}
    with torch.no_grad():
        model.words.weight.zero_()
        model.head.weight.copy_(WORTH * torch.eye(len(tokenizer)))
        for word in OPTIONS:
            model.words.weight[ids[word], ids[word]] = 1
        for word, answer in FOLLOWS.items():
            model.words.weight[ids[word], ids[answer]] = 1
    return model


def genre(i):
    return OPTIONS[i % len(OPTIONS)]


def definition(i, easy):
    word = genre(i) if easy else next(word for word, answer in FOLLOWS.items() if answer == genre(i))
    return f"{NAMES[i]} is a {word} of the town ."


def knowledge(known=N):
    """Return a knowledge base in which the vector of an entity says its genre."""
    vectors = torch.stack([one_hot(i) for i in range(known)])
    return KnowledgeBase.from_entities(
        [Entity(f"x:{i}", NAMES[i]) for i in range(known)], vectors, name="what is shown"
    )


def one_hot(i):
    return torch.eye(len(OPTIONS))[i % len(OPTIONS)]


def plugin_for(model, tokenizer, kb):
    """Return a plugin whose mapping makes a vector the word of its genre."""
    plugin = KnowledgePlugin.for_model(model, kb, tokenizer, mapping="affine")
    (layer,) = plugin.mapping.layers
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        for column, word in enumerate(OPTIONS):
            layer.weight[tokenizer.convert_tokens_to_ids(word), column] = 1
    return plugin


def inferences():
    """Return probes to choose in: of even entities the definition says the answer, of odd ones it follows."""
    return ProbeSet(
        "entity-inferences",
        tuple(
            EntityProbe(
                f"show_{i}", NAMES[i], NAMES[i], definition(i, i % 2 == 0), f"people like {NAMES[i]} and it was a",
                " in the town .", genre(i), OPTIONS, "tv_show",
            )
            for i in range(N)
        ),
    )  # fmt: skip


def spans():
    """Return the same without options, with two rows about each entity, and rows about popular ones."""
    probes = tuple(
        EntityProbe(
            f"{NAMES[i]}_{i}_0_{j}", f"{NAMES[i]}_{i}", NAMES[i], definition(i, i % 2 == 0),
            f"{('people like', 'they saw')[j]} {NAMES[i]} and it was a", " in the town .", genre(i), (), "np",
        )
        for i in range(N)
        for j in range(2)
    )  # fmt: skip
    popular = tuple(
        EntityProbe(
            f"{word}_1_0_0", word, word, "", f"the {word} was a", " and people like it .", "great", (), "popular"
        )
        for word in POPULAR
    )
    return ProbeSet("ecbd", probes, popular)


def share(counted, among=len(OPTIONS)):
    """Return the probability of an option that stands there so often, where the others do not."""
    return math.exp(WORTH * counted) / (math.exp(WORTH * counted) + among - 1)


# ---- the same as files ---------------------------------------------------------------------------------------------


def row_of(probe):
    """Return a probe as the published files have it."""
    words = probe.definition.split(" ")
    taken = words[3] if len(words) > 3 else ""
    blanked = " ".join([*words[:3], "<extra_id_0>", *words[4:]])
    sentence = f"{probe.before} <extra_id_0>{probe.after}"
    told = {"definition": blanked, "def_target": f"<extra_id_0> {taken} <extra_id_1>"} if probe.definition else {}
    row = told | {
        "ex_id": probe.id,
        "category": "tv_show",
        "ent_str": probe.entity,
        "attribute": "n/a",
    }
    if probe.options:
        asked = {"probe_sentence": sentence, "labels": list(probe.options)}
        return row | {"label": probe.gold, "probe_sentences": {"template_0": asked}}
    asked = {"probe_sentence": sentence, "label": f"<extra_id_0> {probe.gold} <extra_id_1>"}
    return row | {"qid": ["show (Q1)"], "probe_sentences": {"template_0": asked}}


def write(probes, folder):
    """Write probes into a folder that is laid out as the published one."""
    inner = folder / "data" / ("ecbd" if probes.task == "ecbd" else "entity_inferences")
    inner.mkdir(parents=True, exist_ok=True)
    files = {}
    for probe in probes.probes:
        files.setdefault(probe.file, []).append(probe)
    if probes.popular:
        files["specificity_popular_2np"] = probes.popular
    for name, members in files.items():
        lines = [json.dumps(row_of(probe), ensure_ascii=False) for probe in members]
        (inner / f"{name}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
