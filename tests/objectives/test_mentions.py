from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.errors import LinkingError, TrainingError
from knowledge_plugin.objectives.mentions import MentionCLMCollator, MentionMLMCollator, MentionSeq2SeqCollator
from tests import tiny

TEXT = "the museum in paris opened and the mayor of new york came"
SENTINELS = [f"<extra_id_{i}>" for i in range(8)]


@pytest.fixture(scope="module")
def attachments():
    """The cities attached to a model, with each tokenizer family."""
    kb = tiny.knowledge_base()
    made = {}
    for family in tiny.FAMILIES:
        model, tokenizer = tiny.classifier(vocab_size=500), tiny.tokenizer(family)
        model.config.decoder_start_token_id = 0  # as if it were T5
        if family == "unigram":
            tokenizer.add_special_tokens({"additional_special_tokens": SENTINELS, "mask_token": "<mask>"})
        made[family] = KnowledgePlugin.for_model(model, kb).attach(model, tokenizer)
    return made


def collator(attachment, kind=MentionMLMCollator, **options):
    made = kind(**options)
    made.use(attachment)
    return made


def decoded(attachment, ids) -> str:
    return attachment.tokenizer.decode(ids).strip()


def asked_for(attachment, labels) -> list[str]:
    """The runs of labels, decoded."""
    runs: list[list[int]] = [[]]
    for label in labels.tolist():
        if label != -100:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [decoded(attachment, run) for run in runs if run]


class TestMaskedLM:
    @pytest.mark.parametrize("family", tiny.FAMILIES)
    def test_every_piece_of_a_mention_is_masked_and_nothing_else(self, attachments, family):
        attachment = attachments[family]
        batch = collator(attachment, draws=False)([{"text": TEXT}])
        ids, labels = batch["input_ids"][0], batch["labels"][0]
        plain = attachment.tokenizer(TEXT, return_tensors="pt")["input_ids"][0]
        masked = labels != -100
        assert asked_for(attachment, labels) == ["paris", "new york"]
        assert torch.equal(labels[masked], plain[masked])
        assert torch.equal(ids[~masked], plain[~masked])
        assert set(ids[masked].tolist()) == {attachment.tokenizer.mask_token_id}
        assert int((ids >= attachment.source.ids.start).sum()) == 2  # the entities stay

    def test_given_mentions_beat_the_linker(self, attachments):
        attachment = attachments["wordpiece"]
        rows = [{"text": TEXT, "mentions": [{"start": 4, "end": 10, "entity_id": "geo:berlin"}]}]
        assert asked_for(attachment, collator(attachment)(rows)["labels"][0]) == ["museum"]

    def test_a_mention_without_an_entity_of_ours_is_not_asked_for(self, attachments):
        attachment = attachments["wordpiece"]
        rows = [{"text": TEXT, "mentions": [Mention(4, 10, "geo:atlantis"), Mention(14, 19, "geo:paris")]}]
        with pytest.warns(UserWarning, match="of entities that no attached plugin knows, the first of 'geo:atlantis'"):
            labels = collator(attachment)(rows)["labels"]
        assert asked_for(attachment, labels[0]) == ["paris"]

    def test_what_truncation_took_is_not_asked_for(self, attachments):
        attachment = attachments["wordpiece"]
        batch = collator(attachment, draws=False)([{"text": TEXT + " the river" * 40 + " in berlin"}, {"text": TEXT}])
        assert batch["input_ids"].shape == (2, 64)
        assert [asked_for(attachment, row) for row in batch["labels"]] == [["paris", "new york"]] * 2

    def test_text_without_a_mention_asks_for_nothing(self, attachments):
        batch = collator(attachments["wordpiece"])([{"text": "nothing to see"}, {"text": TEXT}])
        assert set(batch["labels"][0].tolist()) == {-100}
        assert batch["attention_mask"][0].sum() < batch["attention_mask"][1].sum()

    @given(
        words=st.lists(st.sampled_from(["paris", "berlin", "new york", "river", "the", "w"]), min_size=1, max_size=9)
    )
    def test_whatever_is_linked_comes_back(self, attachments, words):
        for attachment in attachments.values():
            text = " ".join(words)
            labels = collator(attachment, draws=False)([{"text": text}])["labels"][0]
            expected = [text[m.start : m.end] for m in attachment.explain(text)]
            assert sorted(asked_for(attachment, labels)) == sorted(expected)


class TestDrawing:
    def draws(self, attachment, epochs, **options):
        made = collator(attachment, **options)
        for made.epoch in range(epochs):
            yield tuple(asked_for(attachment, made([{"text": TEXT}])["labels"][0]))

    def test_each_part_is_drawn_equally_often(self, attachments):
        counts = Counter(self.draws(attachments["wordpiece"], 600))
        assert set(counts) == {("paris", "new york"), ("paris",), ("new york",)}
        assert all(150 < count < 250 for count in counts.values())

    def test_it_depends_on_seed_epoch_and_text_alone(self, attachments):
        attachment = attachments["wordpiece"]
        rows = [{"text": f"{TEXT} {i}"} for i in range(8)]
        whole = collator(attachment, seed=3)(rows)["labels"]
        one_by_one = [collator(attachment, seed=3)([row])["labels"][0] for row in rows]
        assert all(torch.equal(a, b) for a, b in zip(whole, one_by_one, strict=True))
        assert list(self.draws(attachment, 50, seed=1)) != list(self.draws(attachment, 50, seed=2))

    def test_evaluation_asks_for_all(self, attachments):
        attachment = attachments["wordpiece"]
        labels = collator(attachment).for_evaluation()([{"text": TEXT}])["labels"][0]
        assert asked_for(attachment, labels) == ["paris", "new york"]


class TestCausalLM:
    @pytest.mark.parametrize("family", tiny.FAMILIES)
    def test_from_the_first_mention_on(self, attachments, family):
        attachment = attachments[family]
        batch = collator(attachment, MentionCLMCollator)([{"text": TEXT}, {"text": "it is"}])
        ids, labels = batch["input_ids"][0], batch["labels"][0]
        scored = labels != -100
        assert torch.equal(ids, attachment.tokenizer(TEXT, return_tensors="pt")["input_ids"][0])
        assert torch.equal(labels[scored], ids[scored])
        text = decoded(attachment, labels[scored])
        assert text.startswith("paris opened and the mayor of new york came")
        assert not (ids[scored] >= attachment.source.ids.start).any()
        assert set(batch["labels"][1].tolist()) == {-100}

    def test_separators_are_not_asked_for(self, attachments):
        attachment = attachments["wordpiece"]
        labels = collator(attachment, MentionCLMCollator)([{"text": TEXT}])["labels"][0]
        assert attachment.tokenizer.convert_tokens_to_ids("/") not in labels.tolist()


class TestSeq2Seq:
    def test_a_sentinel_for_each_mention(self, attachments):
        attachment = attachments["unigram"]
        tokenizer = attachment.tokenizer
        batch = collator(attachment, MentionSeq2SeqCollator, draws=False)(
            [{"text": TEXT}, {"text": "nothing"}, {"text": "to berlin"}]
        )
        first, second = (tokenizer.convert_tokens_to_ids(s) for s in SENTINELS[:2])
        ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        assert ids.index(first) < ids.index(second)
        assert "paris" not in decoded(attachment, ids)
        assert sum(i >= attachment.source.ids.start for i in ids) == 2
        text = tokenizer.decode([label for label in labels if label != -100])
        assert text == "<extra_id_0> paris<extra_id_1> new york<extra_id_2></s>"
        assert set(batch["labels"][1].tolist()) == {-100}
        decoder_ids = batch["decoder_input_ids"][0].tolist()
        assert decoder_ids == [0, *[label if label != -100 else tokenizer.pad_token_id for label in labels[:-1]]]

    def test_a_tokenizer_that_ends_no_text(self, attachments):
        collate = collator(attachments["unigram"], MentionSeq2SeqCollator, draws=False)
        collate.tokenizer = copy.deepcopy(collate.tokenizer)
        collate.tokenizer.eos_token = None
        labels = collate([{"text": TEXT}])["labels"][0]
        assert labels[-1] == collate.tokenizer.convert_tokens_to_ids(SENTINELS[2])

    def test_around_the_mentions_the_text_stays(self, attachments):
        attachment = attachments["unigram"]
        ids = collator(attachment, MentionSeq2SeqCollator, draws=False)([{"text": TEXT}])["input_ids"][0]
        expected = "the museum in<extra_id_0> opened and the mayor of<extra_id_1> came</s>"
        assert decoded(attachment, ids) == expected


@pytest.mark.parametrize("kind", [MentionMLMCollator, MentionCLMCollator, MentionSeq2SeqCollator])
def test_rows_without_text(attachments, kind):
    with pytest.raises(TrainingError, match="expected 'text'"):
        collator(attachments["unigram"], kind)([{"input_ids": [1, 2]}])


def test_nothing_that_finds_mentions(wordpiece):
    model = tiny.classifier()
    kb = KnowledgeBase.from_entities([Entity("x:1", "Paris")], torch.ones(1, 8), name="n", linker="external")
    attachment = KnowledgePlugin.for_model(model, kb).attach(model, wordpiece)
    with pytest.raises(LinkingError, match="linker="):
        collator(attachment)([{"text": TEXT}])
