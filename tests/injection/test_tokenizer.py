"""The linking tokenizer: ordinary tokens stay what they are, virtual tokens stand where the mentions are."""

from __future__ import annotations

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase

from knowledge_plugin import KnowledgePlugin, Mention
from knowledge_plugin.errors import LinkingError, MentionError, TokenizerError
from tests import tiny

MODEL = tiny.classifier(vocab_size=500)
TEXT = "the mayor of New York came to Paris, and Paris was glad"
PAIR = "Berlin is far from York"


@pytest.fixture
def attachment(tokenizer):
    with KnowledgePlugin.for_model(MODEL, tiny.knowledge_base()).attach(MODEL, tokenizer) as attached:
        yield attached


@pytest.fixture
def linking(attachment) -> PreTrainedTokenizerBase:
    return attachment.tokenizer


def is_virtual(token_id: int) -> bool:
    return token_id >= 500


def without_knowledge(encoding: dict, linking: PreTrainedTokenizerBase) -> dict:
    """Take virtual tokens and the separators behind them out of one encoded text."""
    separator = len(linking("x Paris x", add_special_tokens=False)["input_ids"]) - len(
        linking._knowledge_base_tokenizer("x Paris x", add_special_tokens=False)["input_ids"]
    )
    keep, i = [], 0
    ids = encoding["input_ids"]
    while i < len(ids):
        if is_virtual(ids[i]):
            i += separator
        else:
            keep.append(i)
            i += 1
    return {key: [values[i] for i in keep] for key, values in encoding.items()}


words = st.sampled_from(["Paris", "New York", "york", "Berlin", "the", "museum", "Zürich", "日本", "naïve", "a", "/"])
glue = st.sampled_from([" ", "  ", "\n", "\t", ", ", "", "(", ")", "-", '"', "🎉", "́", " ", " \n "])
texts = st.lists(st.tuples(glue, words), max_size=8).map(lambda parts: "".join(a + b for a, b in parts))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts | st.text(max_size=40))
def test_ordinary_tokens_offsets_words_and_types_never_change(linking, tokenizer, text):
    arguments = {"return_offsets_mapping": True, "return_token_type_ids": True}
    with_knowledge, plain = linking(text, **arguments), tokenizer(text, **arguments)
    found = dict(with_knowledge) | {"words": with_knowledge.word_ids()}
    assert without_knowledge(found, linking) == dict(plain) | {"words": plain.word_ids()}
    assert linking.decode(with_knowledge["input_ids"]) == tokenizer.decode(plain["input_ids"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=texts, second=texts)
def test_pairs_never_change_either(linking, tokenizer, first, second):
    arguments = {"return_offsets_mapping": True, "return_token_type_ids": True}
    with_knowledge, plain = linking([first], [second], **arguments), tokenizer([first], [second], **arguments)
    found = {key: values[0] for key, values in with_knowledge.items()}
    found |= {"words": with_knowledge.word_ids(0), "sequences": with_knowledge.sequence_ids(0)}
    expected = {key: values[0] for key, values in plain.items()}
    kept = without_knowledge(found, linking)
    assert kept == expected | {"words": plain.word_ids(0), "sequences": plain.sequence_ids(0)}


CALLS = [
    {},
    {"text_pair": "no name here"},
    {"padding": "max_length", "max_length": 40},
    {"padding": True, "pad_to_multiple_of": 8},
    {"padding": True, "padding_side": "left", "return_tensors": "pt"},
    {"truncation": True, "max_length": 5},
    {"truncation": True, "max_length": 6, "stride": 2, "return_overflowing_tokens": True},
    {"add_special_tokens": False},
    {"return_special_tokens_mask": True, "return_length": True, "return_offsets_mapping": True},
]


@pytest.mark.parametrize("arguments", CALLS)
@pytest.mark.parametrize("batch", [False, True])
def test_text_without_mentions_is_encoded_exactly_as_before(linking, tokenizer, arguments, batch):
    text = "the river is wide"
    arguments = dict(arguments)
    if batch:
        text = [text, "yes"]
        if "text_pair" in arguments:
            arguments["text_pair"] = [arguments["text_pair"], ""]
    a, b = linking(text, **arguments), tokenizer(text, **arguments)
    assert a.keys() == b.keys()
    for key in a:
        same = a[key] == b[key]
        assert same if isinstance(same, bool) else same.all()


def test_virtual_tokens_stand_right_before_their_mentions(linking):
    encoded = linking(TEXT, return_offsets_mapping=True)
    places = [i for i, token_id in enumerate(encoded["input_ids"]) if is_virtual(token_id)]
    names = linking.convert_ids_to_tokens([encoded["input_ids"][i] for i in places])
    assert names == ["<geo:new-york>", "<geo:paris>", "<geo:paris>"]
    for i, name in zip(places, ("New", "Paris", "Paris"), strict=True):
        following = next(span for span, word in zip(encoded["offset_mapping"][i:], encoded.word_ids()[i:], strict=True)
                         if word is not None and TEXT[slice(*span)].strip())  # fmt: skip
        assert name.startswith(TEXT[slice(*following)].strip())
        assert encoded.word_ids()[i] is None
        assert len(set(encoded["offset_mapping"][i])) == 1


def test_overflow_windows_cover_the_whole_text(linking, tokenizer):
    arguments = {"truncation": True, "max_length": 12, "stride": 3, "return_overflowing_tokens": True}
    encoded = linking([TEXT, PAIR], return_offsets_mapping=True, return_special_tokens_mask=True, **arguments)
    assert all(len(ids) <= 12 for ids in encoded["input_ids"])
    for sample, text in enumerate([TEXT, PAIR]):
        seen: set[int] = set()
        ids: list[int] = []
        for window, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            if owner == sample:
                ids += encoded["input_ids"][window]
                for start, end in encoded["offset_mapping"][window]:
                    seen |= set(range(start, end))
        assert {i for i, c in enumerate(text) if not c.isspace()} <= seen
        assert any(is_virtual(i) for i in ids)


@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_truncated_pairs_keep_to_the_length_and_padding_to_its_side(linking, strategy, side):
    encoded = linking(
        [TEXT, "Paris"], [PAIR * 3, PAIR], truncation=strategy, max_length=60, padding=True, padding_side=side
    )
    lengths = {len(ids) for ids in encoded["input_ids"]}
    assert len(lengths) == 1
    assert max(lengths) <= 60
    ends = [mask[-1] if side == "left" else mask[0] for mask in encoded["attention_mask"]]
    assert ends == [1, 1]


def test_padding_to_the_longest_counts_virtual_tokens(linking):
    texts = ["Paris", "the river is wide and she moved to the old town"]
    for multiple in (5, 7, 32):
        encoded = linking(texts, padding=True, pad_to_multiple_of=multiple)
        assert len({len(ids) for ids in encoded["input_ids"]}) == 1
        assert len(encoded["input_ids"][0]) % multiple == 0


def test_a_stride_that_no_longer_fits_costs_the_knowledge_and_not_the_call(linking, tokenizer):
    room = len(tokenizer("Paris New York", "a")["input_ids"])
    arguments = {"truncation": "only_second", "max_length": room + 2, "stride": 2, "return_overflowing_tokens": True}
    long = "she moved to the old town and bought a house"
    with pytest.warns(UserWarning, match="larger max_length"):
        encoded = linking("Paris New York", long, **arguments)
    linking("Paris New York", long, **arguments)  # said once
    assert encoded["input_ids"] == tokenizer("Paris New York", long, **arguments)["input_ids"]


def test_entities_of_a_long_question_go_before_those_of_the_text(linking, tokenizer):
    question, text = "Paris Berlin York Paris", "she came to Paris and bought a house"
    room = len(tokenizer(question, "a")["input_ids"])
    arguments = {"truncation": "only_second", "max_length": room + 6, "stride": 2, "return_overflowing_tokens": True}
    with pytest.warns(UserWarning, match="larger max_length"):
        encoded = linking(question, text, **arguments)
    plain = tokenizer(question)["input_ids"]
    for ids in encoded["input_ids"]:
        assert ids[: len(plain) - 1] == plain[:-1]
    assert any(is_virtual(i) for ids in encoded["input_ids"] for i in ids)


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_leaves_no_halves(linking, tokenizer, side):
    text = "she saw Paris and New York and Berlin"
    linking.truncation_side = tokenizer.truncation_side = side
    whole = linking(text)["input_ids"]
    for length in range(3, len(whole)):
        ids = linking(text, truncation=True, max_length=length)["input_ids"]
        # Without them it is what truncation to as many ordinary tokens gives, and no separator stands alone.
        words = [i for start, i in zip(_inserted(linking, ids), ids, strict=True) if not start]
        assert words == tokenizer(text, truncation=True, max_length=len(words))["input_ids"]
        assert sum(map(is_virtual, ids)) <= sum(map(is_virtual, whole))
        tokens = linking.convert_ids_to_tokens(ids)
        last = max((i for i, token_id in enumerate(ids) if is_virtual(token_id)), default=None)
        if last is not None:
            after = [t for t in tokens[last + 2 :] if t not in linking.all_special_tokens]
            assert after, tokens  # the mention, or the beginning of it


def _inserted(linking, ids: list[int]) -> list[bool]:
    return [
        bool(special) and i not in linking.all_special_ids
        for special, i in zip(linking.get_special_tokens_mask(ids, already_has_special_tokens=True), ids, strict=True)
    ]


def test_both_texts_of_a_pair_are_cut_between_mentions(linking, tokenizer):
    pair = ("she saw Paris and New York", "the mayor of Berlin came to York")
    full = len(linking(*pair)["input_ids"])
    for length in range(8, full):
        for strategy in ("longest_first", "only_second", "only_first"):
            arguments = {"truncation": strategy, "max_length": length}
            try:
                plain = tokenizer(*pair, **arguments)["input_ids"]
            except Exception:  # one of the two is too long on its own
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ids = linking(*pair, **arguments)["input_ids"]
            assert len(ids) <= max(length, len(plain))
            separators = sum(_inserted(linking, ids)) - sum(map(is_virtual, ids))
            one = linking("the Paris")["input_ids"]
            assert separators == sum(map(is_virtual, ids)) * (sum(_inserted(linking, one)) - 1)


def test_one_token_of_a_name_is_a_word(linking, tokenizer):
    # As the fill-mask pipeline asks what the first token of a target is.
    arguments = {"add_special_tokens": False, "truncation": True, "max_length": 1}
    assert linking("Berlin", **arguments)["input_ids"] == tokenizer("Berlin", **arguments)["input_ids"]


def test_datasets_can_tell_it_by_a_hash(linking):
    hasher = pytest.importorskip("datasets.fingerprint").Hasher
    before = hasher.hash(linking)
    linking("the Paris")
    assert hasher.hash(linking) == before
    source = linking._tokenizer.sources.enabled[0]
    with source.switched_off():
        assert hasher.hash(linking) != before


def test_mentions_of_a_batch_may_come_in_any_form(linking):
    rows = [Mention(4, 9, "geo:berlin")]
    expected = linking(["the Paris", "the Paris"], mentions=[rows, rows])["input_ids"]
    columns = {"start": [4], "end": [9], "entity_id": ["geo:berlin"]}
    assert linking(["the Paris"] * 2, mentions=iter([iter(rows), columns]))["input_ids"] == expected
    assert linking("the Paris", mentions=columns)["input_ids"] == expected[0]
    assert linking(["the Paris"] * 2, mentions=[rows, None])["input_ids"] == [
        expected[0],
        linking("the Paris")["input_ids"],
    ]
    with pytest.raises(MentionError, match="one length"):
        linking("the Paris", mentions={"start": [4, 5], "end": [9], "entity_id": ["geo:berlin"]})


def test_a_mask_for_collators_covers_all_that_was_put_in(linking):
    encoded = linking("the Paris", return_special_tokens_mask=True)
    mask = linking.get_special_tokens_mask(encoded["input_ids"], already_has_special_tokens=True)
    assert mask == encoded["special_tokens_mask"]


def test_pretokenized_words_keep_their_numbers(linking, tokenizer):
    text = ["She", "saw", "New", "York", "and", "Paris"]
    encoded = linking(text, is_split_into_words=True)
    found = dict(encoded) | {"words": encoded.word_ids()}
    plain = tokenizer(text, is_split_into_words=True)
    assert without_knowledge(found, linking) == dict(plain) | {"words": plain.word_ids()}
    virtual = [i for i in encoded["input_ids"] if is_virtual(i)]
    assert linking.convert_ids_to_tokens(virtual) == ["<geo:new-york>", "<geo:paris>"]


def test_given_mentions_beat_the_linker(linking):
    given = [[Mention(0, 3, "geo:berlin")], []]
    encoded = linking(["the Paris", "Paris"], mentions=given)
    virtual = [[linking.convert_ids_to_tokens(i) for i in ids if is_virtual(i)] for ids in encoded["input_ids"]]
    assert virtual == [["<geo:berlin>"], []]


def test_a_single_text_takes_a_flat_list_and_plain_tuples(linking):
    encoded = linking("the Paris", mentions=[(4, 9, "geo:paris-texas")])
    assert "<geo:paris-texas>" in linking.convert_ids_to_tokens(encoded["input_ids"])


def test_an_entity_that_is_not_known_gets_no_token_and_that_is_said_once(linking, tokenizer):
    with pytest.warns(UserWarning, match=r"1 of 1 mentions so far .*'geo:atlantis'.* look like 'geo:new-york'"):
        found = linking("the Paris", mentions=[Mention(4, 9, "geo:atlantis")])
    assert found["input_ids"] == tokenizer("the Paris")["input_ids"]
    linking("the Paris", mentions=[Mention(4, 9, "geo:atlantis")])  # once is enough


def test_a_batch_says_how_many_entities_are_not_known(linking):
    mentions = [[Mention(4, 9, "geo:paris")]] * 3 + [[Mention(4, 9, "geo:7")]] * 2 + [[]]
    with pytest.warns(UserWarning, match="2 of 5 mentions so far .*'geo:7'"):
        linking(["the Paris"] * 6, mentions=mentions)


def test_a_batch_takes_a_list_of_mentions_for_each_text(linking):
    with pytest.raises(MentionError, match=r"for each text of a batch, .* Type: mentions=\[\[Mention\(start"):
        linking(["the Paris"], mentions=[Mention(4, 9, "geo:paris")])


def test_a_virtual_token_has_one_name(linking):
    encoding = linking("the York")
    assert encoding.tokens() == linking.convert_ids_to_tokens(encoding["input_ids"])
    assert "<geo:york>" in encoding.tokens()


def test_tokens_become_ids_again(linking, tokenizer):
    ids = linking(TEXT, add_special_tokens=False)["input_ids"]
    assert sum(map(is_virtual, ids)) == 3
    assert linking.convert_tokens_to_ids(linking.convert_ids_to_tokens(ids)) == ids
    assert linking.convert_tokens_to_ids(iter(linking.tokenize(TEXT))) == ids
    assert linking.convert_ids_to_tokens(linking.convert_tokens_to_ids("<geo:york>")) == "<geo:york>"
    for other in ("<geo:atlantis>", "geo:york", "the", "<", tokenizer.unk_token, tokenizer.pad_token):
        assert linking.convert_tokens_to_ids(other) == tokenizer.convert_tokens_to_ids(other)
    assert linking.convert_tokens_to_ids([]) == []


def test_a_word_that_looks_like_an_entity_stays_a_word(wordpiece):
    own = copy.deepcopy(wordpiece)
    own.add_tokens(["<geo:york>"])
    with KnowledgePlugin.for_model(MODEL, tiny.knowledge_base()).attach(MODEL, own) as attachment:
        assert attachment.tokenizer.convert_tokens_to_ids("<geo:york>") == len(own) - 1


@pytest.mark.parametrize("span", [(0, 0), (3, 2), (-1, 2), (0, 100)])
def test_a_span_outside_its_text_is_refused(linking, span):
    with pytest.raises(MentionError, match="does not fit"):
        linking("the Paris", mentions=[Mention(*span, "geo:paris")])


def test_as_many_lists_of_mentions_as_texts(linking):
    with pytest.raises(MentionError, match="each of 2 texts"):
        linking(["Paris", "Berlin"], mentions=[[]])


def test_targets_never_hold_virtual_ids(linking, tokenizer):
    encoded = linking("Paris", text_target="Paris")
    assert any(map(is_virtual, encoded["input_ids"]))
    assert encoded["labels"] == tokenizer("Paris")["input_ids"]


def test_vocabulary_and_length_are_those_of_the_base(linking, tokenizer):
    assert len(linking) == len(tokenizer)
    assert linking.get_vocab() == tokenizer.get_vocab()


def test_the_given_tokenizer_is_not_touched(tokenizer):
    before, kind = tokenizer.backend_tokenizer.to_str(), type(tokenizer)
    with KnowledgePlugin.for_model(MODEL, tiny.knowledge_base()).attach(MODEL, tokenizer) as (_, linking):
        linking(TEXT, truncation=True, max_length=5, padding="max_length")
    assert tokenizer.backend_tokenizer.to_str() == before
    assert type(tokenizer) is kind


@pytest.mark.parametrize("copied", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy, copy.copy])
def test_copies_link_too(linking, copied):
    assert copied(linking)(TEXT, PAIR)["input_ids"] == linking(TEXT, PAIR)["input_ids"]


def test_saved_it_is_the_plain_tokenizer(linking, tokenizer, tmp_path):
    linking.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert "Knowledge" not in type(again).__name__
    assert again(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]


def test_virtual_tokens_count_as_special(linking):
    ids = linking("Paris")["input_ids"]
    mask = linking.get_special_tokens_mask(ids, already_has_special_tokens=True)
    assert all(m == 1 for i, m in zip(ids, mask, strict=True) if is_virtual(i))


def test_a_special_token_written_in_the_text_is_no_mention(linking, tokenizer):
    text = f"the {tokenizer.pad_token} Paris"
    span = (4, 4 + len(tokenizer.pad_token))
    assert linking(text, mentions=[Mention(*span, "geo:paris")])["input_ids"] == tokenizer(text)["input_ids"]


def test_words_cannot_be_added_while_attached(linking):
    with pytest.raises(TokenizerError, match="Detach"):
        linking.add_tokens(["neologism"])


def test_another_attachments_tokenizer_stands_for_its_base(linking):
    other = tiny.classifier(vocab_size=500)
    with KnowledgePlugin.for_model(other, tiny.knowledge_base()).attach(other, linking) as (_, tokenizer):
        ids = [i for i in tokenizer("From Paris")["input_ids"] if i >= MODEL.config.vocab_size]
    assert ids == [500 + tiny.knowledge_base().row("geo:paris")]


@pytest.mark.parametrize("wrong", [None, "tokenizer", str.split, ByT5Tokenizer()])
def test_what_is_no_fast_tokenizer_is_refused(wrong):
    with pytest.raises(TokenizerError, match="fast tokenizer"):
        KnowledgePlugin.for_model(MODEL, tiny.knowledge_base()).attach(MODEL, wrong)


def test_threads_do_not_mix(linking):
    texts = [TEXT, PAIR, "nothing", "Paris and York", "Berlin"] * 8
    expected = [linking(text)["input_ids"] for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: linking(text)["input_ids"], texts)) == expected


def test_without_aliases_texts_need_given_mentions(wordpiece):
    kb = tiny.knowledge_base(linker="external")
    with KnowledgePlugin.for_model(MODEL, kb).attach(MODEL, wordpiece) as (_, linking):
        assert any(map(is_virtual, linking("Paris", mentions=[Mention(0, 5, "geo:paris")])["input_ids"]))
        with pytest.raises(LinkingError, match="linker="):
            linking("Paris")


class TestReplace:
    @pytest.fixture
    def linking(self, tokenizer):
        with KnowledgePlugin.for_model(MODEL, tiny.knowledge_base()).attach(MODEL, tokenizer, form="replace") as (
            _,
            linking,
        ):
            yield linking

    def test_one_virtual_token_takes_the_place_of_the_mention(self, linking, tokenizer):
        text = "came to New York today"
        encoded = linking(text, return_offsets_mapping=True)
        place = next(i for i, token_id in enumerate(encoded["input_ids"]) if is_virtual(token_id))
        assert encoded["offset_mapping"][place] == (8, 16)
        assert encoded.word_ids()[place] == tokenizer(text).word_ids()[tokenizer(text).char_to_token(8)]
        start, end = tokenizer(text).char_to_token(8), tokenizer(text).char_to_token(15) + 1
        plain = tokenizer(text)["input_ids"]
        rest = [i for i in encoded["input_ids"] if not is_virtual(i)]
        assert rest == plain[:start] + plain[end:]

    def test_the_rest_of_the_text_is_decoded(self, linking, tokenizer):
        decoded = linking.decode(linking("came to Paris today")["input_ids"], skip_special_tokens=True)
        assert "aris" not in decoded
        assert "today" in decoded


def test_inserted_tokens_are_special_and_words_are_not(linking, tokenizer):
    text = "The mayor of New York came to Paris"
    plain = tokenizer(text, return_special_tokens_mask=True)
    found = linking(text, return_special_tokens_mask=True)
    assert found["special_tokens_mask"] == found[0].special_tokens_mask
    assert sum(not mask for mask in found["special_tokens_mask"]) == sum(not m for m in plain["special_tokens_mask"])


def test_inserted_tokens_are_special_in_every_window(linking):
    windows = linking(
        "The mayor of New York came to Paris",
        max_length=8,
        stride=1,
        truncation=True,
        return_overflowing_tokens=True,
        return_special_tokens_mask=True,
    )
    assert len(windows["input_ids"]) > 1
    for ids, mask in zip(windows["input_ids"], windows["special_tokens_mask"], strict=True):
        assert all(m for i, m in zip(ids, mask, strict=True) if i >= MODEL.config.vocab_size)


@pytest.mark.parametrize(
    "given",
    [
        [Mention(4, 9, "geo:york")],
        [(4, 9, "geo:york")],
        [[4, 9, "geo:york"]],
        ((4, 9, "geo:york"),),
        [[Mention(4, 9, "geo:york")]],
        [[[4, 9, "geo:york"]]],
        [((4, 9, "geo:york"),)],
    ],
)
def test_mentions_of_a_single_text_flat_or_nested(linking, given):
    tokens = linking("the river", mentions=given).tokens()
    assert tokens.count("<geo:york>") == 1


def test_labels_and_inputs_are_encoded_by_several_threads(linking, tokenizer):
    text = "the Paris"
    expected = tokenizer(text)["input_ids"]

    def labels(_):
        return linking(text_target=text)["input_ids"]

    def inputs(_):
        return linking(text)["input_ids"]

    with ThreadPoolExecutor(4) as pool:
        found_labels, found_inputs = pool.map(labels, range(300)), pool.map(inputs, range(300))
        assert all(ids == expected for ids in found_labels)
        assert all(ids != expected for ids in found_inputs)


# ---- what is set on a knowledge tokenizer stays --------------------------------------------------------------------

SET = {"padding_side": "left", "truncation_side": "left", "model_max_length": 7, "chat_template": "X"}


def _attached_to_as_well(tokenizer, model):
    return KnowledgePlugin.for_model(model, tiny.knowledge_base(seed=2)).attach(model, tokenizer).tokenizer


@pytest.mark.parametrize(
    "copied",
    [
        lambda tokenizer, model: copy.deepcopy(tokenizer),
        lambda tokenizer, model: copy.copy(tokenizer),
        lambda tokenizer, model: pickle.loads(pickle.dumps(tokenizer)),
        _attached_to_as_well,
    ],
    ids=["deepcopy", "copy", "pickle", "another plugin"],
)
def test_settings_survive(copied, wordpiece):
    model = tiny.classifier()
    tokenizer = KnowledgePlugin.for_model(model, tiny.knowledge_base()).attach(model, wordpiece).tokenizer
    for name, value in SET.items():
        setattr(tokenizer, name, value)
    tokenizer.pad_token = "[SEP]"
    other = copied(tokenizer, model)
    assert {name: getattr(other, name) for name in SET} == SET
    assert other.pad_token == "[SEP]"
    assert wordpiece.padding_side == "right"


def test_settings_are_saved_as_those_of_any_tokenizer_are(wordpiece, tmp_path):
    model, plain = tiny.classifier(), copy.deepcopy(wordpiece)
    linking = KnowledgePlugin.for_model(model, tiny.knowledge_base()).attach(model, wordpiece).tokenizer
    saved = []
    for name, tokenizer in (("plain", plain), ("linking", linking)):
        for setting, value in SET.items():
            setattr(tokenizer, setting, value)
        tokenizer.pad_token = "[SEP]"
        tokenizer.save_pretrained(tmp_path / name)
        other = AutoTokenizer.from_pretrained(tmp_path / name)
        saved.append({setting: getattr(other, setting) for setting in (*SET, "pad_token")})
    assert saved[0] == saved[1]
    assert saved[0]["chat_template"] == "X"


def test_a_padding_token_that_the_vocabulary_has(wordpiece):
    model = tiny.classifier()
    tokenizer = KnowledgePlugin.for_model(model, tiny.knowledge_base()).attach(model, wordpiece).tokenizer
    tokenizer.add_special_tokens({"pad_token": "[SEP]"})
    assert tokenizer.pad_token_id == tokenizer.sep_token_id
    with pytest.raises(TokenizerError, match="words cannot be added"):
        tokenizer.add_tokens(["brandnew"])


@pytest.mark.parametrize("given", [True, False])
def test_an_unknown_entity_takes_no_room_from_a_known_one(given, wordpiece):
    model = tiny.classifier()
    mentions = [Mention(0, 8, "geo:new-york"), Mention(0, 14, "geo:unknown")]
    plugin = KnowledgePlugin.for_model(model, tiny.knowledge_base())
    attachment = plugin.attach(model, wordpiece, linker=None if given else lambda texts: [mentions for _ in texts])
    with pytest.warns(UserWarning, match="1 of 2 mentions so far .*'geo:unknown'"):
        ids = attachment.tokenizer("new york press", **({"mentions": mentions} if given else {}))["input_ids"]
    source = attachment.source
    assert [i for i in ids if i in source.ids] == [source.token_id(mentions[0])]
    assert attachment.status()[0].mentions_unknown == 1
