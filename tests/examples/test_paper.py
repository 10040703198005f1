"""The paper's tasks on small files in the published formats, made here, with tiny models.

What is tested is that everything is read, run and counted right; the paper's figures need its data.
"""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from examples.paper import injections
from examples.paper.__main__ import main
from examples.paper.checkpoints import METHODS, HeadCollator, make_checkpoint, prepare
from examples.paper.entity_questions import read_entity_questions
from examples.paper.experiment import INJECTIONS, Cell, Ingredients, Plan, run, score
from examples.paper.fewrel import classification, episodes, read_fewrel
from examples.paper.heads import Head, MaskHead, PairHead, PrototypeHead, TypesHead
from examples.paper.injections import (
    Materials,
    e_bert,
    general,
    make_plugin,
    pelt,
    read_descriptions,
    restricted,
    task_specific,
    with_descriptions,
)
from examples.paper.marking import Span, mark, mark_words
from examples.paper.metrics import accuracy, chosen_types, micro_f1
from examples.paper.report import table, warnings
from examples.paper.settings import PUBLISHED, Settings, Training
from examples.paper.sources import DataError
from examples.paper.tasks import Options, Task, load_task
from examples.paper.wiki80 import read_sentences, read_wiki80
from examples.paper.wiki_et import read_entity_rows, read_wiki_et
from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, Mention

datasets = pytest.importorskip("datasets")
pytest.importorskip("peft")

# One of those whom the sentences name is not in the knowledge base, as in the corpora of the paper; that is said.
pytestmark = pytest.mark.filterwarnings("ignore:[0-9]+ of [0-9]+ mentions so far:UserWarning")

PEOPLE = ["Ada", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gil", "Hal"]
CITIES = ["Bari", "Graz", "Lund", "Nice"]
IDS = {name: f"Q{i}" for i, name in enumerate(PEOPLE + CITIES, 1)}
RELATIONS = ["born in", "mayor of"]
TYPES = ["person", "artist", "ruler"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

TINY = Training(1e-2, 1, 4)
SETTINGS = Settings(dict.fromkeys(METHODS, TINY), task=TINY, general=Training(1e-2, 1, 4, dropout=0.25), bottleneck=4)


@pytest.fixture(scope="module")
def tokenizer():
    words = " ".join([*PEOPLE, *CITIES, *TYPES, "was born in is the mayor of where ? . / # $ one who lives"]).lower()
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [*SPECIAL, *words.split(), *letters, *(f"##{letter}" for letter in letters)]
    ids = {word: i for i, word in enumerate(dict.fromkeys(vocabulary))}
    raw = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, mask_token="[MASK]", model_max_length=64, **names)


@pytest.fixture(scope="module")
def base(tokenizer, tmp_path_factory) -> str:
    """A masked language model of two layers, in a folder."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    folder = tmp_path_factory.mktemp("base")
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def kb() -> KnowledgeBase:
    """Everyone but Hal, whom nobody knows."""
    entities = [
        Entity(f"wikidata:{qid}", name, description=f"{name} lives") for name, qid in IDS.items() if name != "Hal"
    ]
    vectors = torch.randn(len(entities), 8, generator=torch.Generator().manual_seed(5))
    return KnowledgeBase.from_entities(entities, vectors, name="world", id_scheme="wikidata")


def sentence(person: str, city: str, relation: str) -> dict:
    """A sentence as Wiki80 and Wiki20m write it."""
    words = [person, "was" if relation == "born in" else "is the", *relation.split(), city, "."]
    words = " ".join(words).split()
    return {
        "token": words,
        "h": {"name": person, "id": IDS[person], "pos": [0, 1]},
        "t": {"name": city, "id": IDS[city], "pos": [len(words) - 2, len(words) - 1]},
        "relation": relation,
    }


SENTENCES = [sentence(p, CITIES[i % 4], RELATIONS[i % 2]) for i, p in enumerate(PEOPLE)]


def write_lines(path, records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write(path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def wiki80(tmp_path):
    for split in ("train", "dev", "test"):
        write_lines(tmp_path / f"{split}.txt", SENTENCES)
    write(tmp_path / "rel2id.json", {name: i for i, name in enumerate(RELATIONS)})
    return tmp_path


@pytest.fixture
def fewrel(tmp_path):
    def record(s: dict) -> dict:
        ends = {e: [s[e]["name"].lower(), s[e]["id"], [list(range(*s[e]["pos"]))]] for e in ("h", "t")}
        return {"tokens": s["token"], **ends}

    data = {r: [record(sentence(p, CITIES[i % 4], r)) for i, p in enumerate(PEOPLE)] for r in RELATIONS}
    write(tmp_path / "train_wiki.json", data)
    write(tmp_path / "val_wiki.json", data)
    return tmp_path


@pytest.fixture
def wiki_et(tmp_path):
    records = [
        {"sent": f"Here {p} lives.", "start": 5, "end": 5 + len(p), "id": str(i), "labels": TYPES[: 1 + i % 3]}
        for i, p in enumerate(PEOPLE)
    ]
    for split in ("train", "dev", "test"):
        write_lines(tmp_path / f"{split}.json", records)
    write(tmp_path / "label2id.json", {name: i for i, name in enumerate(TYPES)})
    lines = [f"{IDS[name]}\t{i}" for i, name in enumerate(PEOPLE)]
    (tmp_path / "entity2id.txt").write_text("\n".join([str(len(lines)), *lines]) + "\n")
    return tmp_path


@pytest.fixture
def questions(tmp_path):
    write(tmp_path / "relation_query_templates.json", {"P19": "Where was [X] born?", "P6": "Where is the mayor [X]"})
    for split in ("train", "dev", "test"):
        asked = [{"question": f"Where was {p} born?", "answers": [CITIES[i % 4]]} for i, p in enumerate(PEOPLE)]
        write(tmp_path / split / f"P19.{split}.json", asked)
        write(tmp_path / split / f"P6.{split}.json", [{"question": "Where is the mayor Ada", "answers": ["Bari"]}])
    return tmp_path


def spans(row) -> list[tuple[str, str]]:
    return [(row["text"][m.start : m.end], m.entity_id) for m in row["mentions"]]


class TestMarking:
    def test_the_tail_may_come_first(self):
        text, mentions = mark("Bari is where Bo was born.", [Span(14, 16, "x:bo", "#"), Span(0, 4, "x:bari", "$")])
        assert text == "$ Bari $ is where # Bo # was born."
        assert [text[m.start : m.end] for m in mentions] == ["Bo", "Bari"]

    def test_one_within_the_other(self):
        text, mentions = mark("the mayor of Bari", [Span(4, 17, "x:mayor", "#"), Span(13, 17, "x:bari", "$")])
        assert text == "the # mayor of $ Bari $ #"
        assert [text[m.start : m.end] for m in mentions] == ["mayor of $ Bari $", "Bari"]

    def test_nobody_knows_whom(self):
        assert mark("Bo was", [Span(0, 2, None, "$")]) == ("$ Bo $ was", [])

    @pytest.mark.parametrize("span", [(0, 0), (-1, 2), (3, 2), (0, 99)])
    def test_spans_outside(self, span):
        with pytest.raises(DataError, match="here: the span"):
            mark("Bo was", [Span(*span, "x:bo", "$")], "here")
        with pytest.raises(DataError, match="here: the span"):
            mark_words(["Bo", "was"], [Span(*span, "x:bo", "$")], "here")


class TestWiki80:
    def test_a_row(self, wiki80):
        row = read_wiki80(wiki80, "train")[1]
        assert row["text"] == "# Bo # is the mayor of $ Graz $ ."
        assert row["label"] == 1
        assert spans(row) == [("Bo", "wikidata:Q2"), ("Graz", "wikidata:Q10")]

    def test_a_dataset_gives_the_same(self, wiki80):
        labels = {name: i for i, name in enumerate(RELATIONS)}
        data = datasets.DatasetDict(train=datasets.Dataset.from_list(SENTENCES))
        assert read_wiki80(data, "train", labels) == read_wiki80(wiki80, "train")
        assert read_wiki80(data["train"], "train", labels) == read_wiki80(wiki80, "train")

    def test_a_dataset_may_number_its_labels(self, wiki80):
        records = [s | {"relation": RELATIONS.index(s["relation"])} for s in SENTENCES]
        labels = {name: i for i, name in enumerate(RELATIONS)}
        assert read_wiki80(datasets.Dataset.from_list(records), "train", labels) == read_wiki80(wiki80, "train")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"token": None}, r"train\.txt, line 2: expected 'token' to be a list, found None"),
            ({"h": {"id": "Q1"}}, r"line 2: expected the field 'pos', found id"),
            ({"h": {"id": "Q1", "pos": [0]}}, r"line 2: expected 'pos' to be"),
            ({"h": {"id": "Q1", "pos": [0, 99]}}, r"line 2: the span 0 to 99"),
            ({"h": {"id": 1, "pos": [0, 1]}}, r"line 2: expected 'id' to be a text"),
            ({"relation": "unheard of"}, r"line 2: the label 'unheard of' is none of the 2"),
            ({"relation": 2}, r"line 2: the label 2 is none of the 2"),
        ],
    )
    def test_errors_name_file_and_line(self, wiki80, change, said):
        write_lines(wiki80 / "train.txt", [SENTENCES[0], SENTENCES[1] | change])
        with pytest.raises(DataError, match=said):
            read_wiki80(wiki80, "train")

    def test_no_json(self, wiki80):
        (wiki80 / "train.txt").write_text(json.dumps(SENTENCES[0]) + "\n\n{'token'\n")
        with pytest.raises(DataError, match=r"train\.txt, line 3: no JSON"):
            read_wiki80(wiki80, "train")

    def test_errors_name_the_row_of_a_dataset(self):
        with pytest.raises(DataError, match="row 0 of the dataset: expected the field 'token'"):
            read_wiki80([{"text": "a"}], "train", {"a": 0})
        with pytest.raises(DataError, match="splits train; expected 'test'"):
            read_wiki80(datasets.DatasetDict(train=datasets.Dataset.from_list(SENTENCES)), "test", {"a": 0})
        with pytest.raises(DataError, match="Type: labels="):
            read_wiki80([], "train")

    def test_missing_files(self, wiki80):
        (wiki80 / "rel2id.json").unlink()
        with pytest.raises(DataError, match=r"rel2id\.json"):
            read_wiki80(wiki80, "train")
        with pytest.raises(DataError, match=r"other\.txt, found none"):
            read_wiki80(wiki80, "other", {"a": 0})

    def test_labels_are_numbered_from_0(self, wiki80):
        write(wiki80 / "rel2id.json", {"born in": 1, "mayor of": 2})
        with pytest.raises(DataError, match=r"rel2id\.json: expected an object of names and numbers"):
            read_wiki80(wiki80, "train")

    def test_sentences_for_map_tuning_have_no_markers(self, wiki80):
        rows = read_sentences(wiki80 / "train.txt", limit=2)
        assert len(rows) == 2
        assert rows[1]["text"] == "Bo is the mayor of Graz ."
        assert spans(rows[1]) == [("Bo", "wikidata:Q2"), ("Graz", "wikidata:Q10")]


class TestFewRel:
    def test_relations(self, fewrel):
        relations = read_fewrel(fewrel, "dev")
        assert list(relations) == RELATIONS
        row = relations["mayor of"][2]
        assert row["text"] == "# Cleo # is the mayor of $ Lund $ ."
        assert row["label"] == 1
        assert spans(row) == [("Cleo", "wikidata:Q3"), ("Lund", "wikidata:Q11")]

    def test_a_dataset_gives_the_same(self, fewrel):
        records = [
            {
                "relation": relation,
                "tokens": s["tokens"],
                "head": dict(zip(("text", "type", "indices"), s["h"], strict=True)),
                "tail": dict(zip(("text", "type", "indices"), s["t"], strict=True)),
            }
            for relation, sentences in json.loads((fewrel / "train_wiki.json").read_text()).items()
            for s in sentences
        ]
        data = datasets.DatasetDict(train=datasets.Dataset.from_list(records))
        assert read_fewrel(data, "train") == read_fewrel(fewrel, "train")
        mixed = records[:1] + records[8:9] + records[1:2]  # the number of a relation is that of its first sentence
        assert [[row["label"] for row in rows] for rows in read_fewrel(mixed, "train").values()] == [[0, 0], [1]]

    def test_episodes(self, fewrel):
        drawn = episodes(read_fewrel(fewrel, "dev"), ways=2, shots=3, queries=5, count=4, seed=1)
        assert len(drawn) == 4 * 2 * 5
        for episode in drawn:
            assert [len(supports) for supports in episode["supports"]] == [3, 3]
            same = [supports[0]["label"] == episode["query"]["label"] for supports in episode["supports"]]
            assert same.index(True) == episode["label"]
            assert sum(same) == 1
            assert episode["query"] not in episode["supports"][episode["label"]]
        assert drawn == episodes(read_fewrel(fewrel, "dev"), ways=2, shots=3, queries=5, count=4, seed=1)
        assert drawn != episodes(read_fewrel(fewrel, "dev"), ways=2, shots=3, queries=5, count=4, seed=2)

    def test_too_few_relations(self, fewrel):
        with pytest.raises(DataError, match="3-way 1-shot with 5 queries: expected 3 relations of 6"):
            episodes(read_fewrel(fewrel, "dev"), ways=3, shots=1, count=1)
        with pytest.raises(DataError, match="found 0"):
            episodes(read_fewrel(fewrel, "dev"), ways=2, shots=4, count=1)

    def test_plain_classification(self, fewrel):
        train, test = classification(read_fewrel(fewrel, "train"), test_share=0.25)
        assert len(train) == 12
        assert sorted(row["label"] for row in test) == [0, 0, 1, 1]
        assert not [row for row in test if row in train]

    @pytest.mark.parametrize(
        ("entity", "said"),
        [
            (None, r"train_wiki\.json, born in, sentence 1: expected an entity"),
            (["bo", "Q2", []], "expected an entity"),
            (["bo", "Q2", [[]]], "the numbers of an entity's words"),
            (["bo", "Q2", [[99]]], "the span 99 to 100"),
            (["bo", 2, [[0]]], "the id of an entity"),
        ],
    )
    def test_errors_name_file_and_sentence(self, fewrel, entity, said):
        data = json.loads((fewrel / "train_wiki.json").read_text())
        data["born in"][1]["h"] = entity
        write(fewrel / "train_wiki.json", data)
        with pytest.raises(DataError, match=said):
            read_fewrel(fewrel, "train")

    def test_no_json(self, fewrel):
        (fewrel / "train_wiki.json").write_text('{\n"born in": [\n')
        with pytest.raises(DataError, match=r"train_wiki\.json, line 3: no JSON"):
            read_fewrel(fewrel, "train")


class TestWikiET:
    def test_a_row(self, wiki_et):
        row = read_wiki_et(wiki_et, "dev", read_entity_rows(wiki_et / "entity2id.txt"))[1]
        assert row["text"] == "Here $ Bo $ lives."
        assert row["label"] == [1, 1, 0]
        assert spans(row) == [("Bo", "wikidata:Q2")]

    def test_a_row_of_the_vectors_that_has_no_id(self, wiki_et):
        rows = read_entity_rows(wiki_et / "entity2id.txt", wanted=[0])
        assert rows == {0: "wikidata:Q1"}
        assert [len(row["mentions"]) for row in read_wiki_et(wiki_et, "dev", rows)] == [1, 0, 0, 0, 0, 0, 0, 0]

    def test_a_dataset_gives_the_same(self, wiki_et):
        records = [json.loads(line) for line in (wiki_et / "dev.json").read_text().splitlines()]
        labels = {name: i for i, name in enumerate(TYPES)}
        assert read_wiki_et(datasets.Dataset.from_list(records), "dev", None, labels) == read_wiki_et(wiki_et, "dev")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"labels": ["king"]}, r"dev\.json, line 1: the label 'king' is none of the 3"),
            ({"id": "Q5"}, "line 1: expected 'id' to be the row of a vector, found 'Q5'"),
            ({"end": 99}, "line 1: the span 0 to 99"),
            ({"start": "0"}, "line 1: expected 'start' to be a whole number"),
        ],
    )
    def test_errors_name_file_and_line(self, wiki_et, change, said):
        write_lines(wiki_et / "dev.json", [{"sent": "Bo", "start": 0, "end": 2, "id": "1", "labels": []} | change])
        with pytest.raises(DataError, match=said):
            read_wiki_et(wiki_et, "dev")

    def test_wrong_entity_rows(self, tmp_path):
        (tmp_path / "entity2id.txt").write_text("1\nQ1\n")
        with pytest.raises(DataError, match=r"entity2id\.txt, line 2"):
            read_entity_rows(tmp_path / "entity2id.txt")


class TestEntityQuestions:
    def find(self, name: str) -> str | None:
        return f"wikidata:{IDS[name]}" if name in IDS else None

    def test_a_row(self, questions, tokenizer):
        rows, asked = read_entity_questions(questions, "test", tokenizer, self.find)
        assert asked == len(rows) == 9
        assert rows[1]["text"] == "Where was $ Bo $ born? [MASK]"
        assert tokenizer.convert_ids_to_tokens(rows[1]["label"]) == "graz"
        assert spans(rows[1]) == [("Bo", "wikidata:Q2")]
        assert rows[8]["text"] == "Where is the mayor $ Ada $ [MASK]"  # a subject at the end

    def test_questions_that_cannot_be_asked_are_left_out(self, questions, tokenizer):
        asked = [
            {"question": "Where was Bo born?", "answers": ["unheard", "Graz"]},  # the second answer has one piece
            {"question": "Where was Bo born?", "answers": ["unheard"]},
            {"question": "Where was Zed born?", "answers": ["Graz"]},
            {"question": "Who was Bo?", "answers": ["Graz"]},
        ]
        write(questions / "test" / "P19.test.json", asked)
        (questions / "test" / "P6.test.json").unlink()
        rows, count = read_entity_questions(questions, "test", tokenizer, self.find)
        assert (len(rows), count) == (1, 4)
        write(questions / "test" / "P19.test.json", asked[1:])
        with pytest.raises(
            DataError, match=r"of 3, 1 do not fit the template .*, 1 have no known subject, 1 have no one"
        ):
            read_entity_questions(questions, "test", tokenizer, self.find)

    def test_a_dataset_gives_the_same(self, questions, tokenizer):
        templates = json.loads((questions / "relation_query_templates.json").read_text())
        records = [
            record | {"relation": relation}
            for relation in templates
            for record in json.loads((questions / "test" / f"{relation}.test.json").read_text())
        ]
        data = datasets.Dataset.from_list(records)
        found = read_entity_questions(data, "test", tokenizer, self.find, templates)
        assert found == read_entity_questions(questions, "test", tokenizer, self.find)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"answers": "Graz"}, r"P19\.test\.json, question 0: expected 'answers' to be a list"),
            ({"answers": [None]}, "question 0: expected an answer"),
            ({"question": 3}, "question 0: expected 'question' to be a text"),
        ],
    )
    def test_errors_name_file_and_question(self, questions, tokenizer, change, said):
        write(questions / "test" / "P19.test.json", [{"question": "Where was Bo born?", "answers": []} | change])
        with pytest.raises(DataError, match=said):
            read_entity_questions(questions, "test", tokenizer, self.find)

    def test_wrong_templates(self, questions, tokenizer):
        write(questions / "relation_query_templates.json", {"P19": "Where?"})
        with pytest.raises(DataError, match="P19: expected a question with one"):
            read_entity_questions(questions, "test", tokenizer, self.find)
        with pytest.raises(DataError, match="Type: templates="):
            read_entity_questions([], "test", tokenizer, self.find)
        with pytest.raises(DataError, match=r"expected files such as P19\.other\.json"):
            write(questions / "relation_query_templates.json", {"P19": "Where [X]?"})
            read_entity_questions(questions, "other", tokenizer, self.find)


class TestMetrics:
    def test_accuracy(self):
        logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0], [0.0, 0.0, 1.0], [5.0, 0.0, 1.0]])
        assert accuracy(logits, torch.tensor([1, 1, 2, 2])) == 0.5

    def test_types_are_those_of_0_and_more_or_else_the_likeliest(self):
        logits = torch.tensor([[1.0, 0.0, -0.1], [-3.0, -1.0, -2.0], [-1.0, -1.0, -2.0]])
        assert chosen_types(logits).tolist() == [[True, True, False], [False, True, False], [True, True, False]]

    def test_micro_f1(self):
        said = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 0, 0]])
        so = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 1, 1]])
        # 2 right of 4 said and 5 so: precision 2/4, recall 2/5, F1 = 2 * 2 / (4 + 5).
        assert micro_f1(said, so) == pytest.approx((0.5, 0.4, 4 / 9))

    def test_micro_f1_of_nothing(self):
        nothing, something = torch.zeros(2, 2), torch.ones(2, 2)
        assert micro_f1(nothing, nothing) == (1, 1, 1)
        assert micro_f1(something, nothing) == micro_f1(nothing, something) == (0, 0, 0)


def outputs(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"logits": tensor}


class TestHeads:
    def test_pairs_are_averaged_over_the_supports_of_a_relation(self):
        head = PairHead(classes=2, shots=2)
        labels = torch.tensor([1, 0])
        logits = head.logits(outputs(torch.tensor([[1.0], [3.0], [0.0], [8.0], [5.0], [5.0], [1.0], [2.0]])), labels)
        assert logits.tolist() == [[2.0, 4.0], [5.0, 1.5]]
        assert head.score(logits, head.answers(labels)) == 1.0
        assert head.loss(outputs(torch.zeros(8, 1)), labels).item() == pytest.approx(0.6931472)

    def test_pairs_stand_in_the_order_of_the_logits(self, fewrel, tokenizer):
        episode = episodes(read_fewrel(fewrel, "dev"), ways=2, shots=2, queries=1, count=1)[1]
        batch = PairHead(classes=2, max_length=64, shots=2).batch(tokenizer, [episode])
        assert batch["labels"].tolist() == [1]
        decoded = [tokenizer.decode(ids).split("[SEP]") for ids in batch["input_ids"]]
        supports = [support for relation in episode["supports"] for support in relation]
        assert len(decoded) == 4
        for (query, support, *_), expected in zip(decoded, supports, strict=True):
            assert query.replace("[CLS]", "").split() == episode["query"]["text"].lower().split()
            assert support.split() == expected["text"].lower().split()

    def test_prototypes(self):
        head = PrototypeHead(classes=2, shots=2)
        # One query at (1, 1); prototypes (0, 1) and (3, 1), each a mean of two.
        states = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 2.0], [2.0, 1.0], [4.0, 1.0]])
        found = head.logits({"last_hidden_state": states[:, None]}, torch.tensor([0]))
        assert found.tolist() == [[-1.0, -4.0]]

    def test_types(self):
        head = TypesHead(classes=2)
        labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        assert head.loss(outputs(torch.zeros(2, 2)), labels).item() == pytest.approx(0.6931472)
        assert head.score(torch.tensor([[1.0, -1.0], [-1.0, -2.0]]), labels) == 0.5

    def test_the_answer_is_asked_for_at_the_mask(self, tokenizer):
        head = MaskHead(classes=len(tokenizer), max_length=64)
        rows = [
            {"text": "Where was Bo born? [MASK]", "label": 7, "mentions": []},
            {"text": "Where [MASK]", "label": 9, "mentions": []},
        ]
        batch = head.batch(tokenizer, rows)
        masked = batch["input_ids"] == tokenizer.mask_token_id
        assert batch["labels"][masked].tolist() == [7, 9]
        assert (batch["labels"][~masked] == -100).all()
        logits = torch.zeros(*batch["input_ids"].shape, len(tokenizer))
        logits[0, masked[0], 7] = logits[1, masked[1], 8] = 1.0
        found = head.logits(outputs(logits), batch["labels"])
        assert head.score(found, head.answers(batch["labels"])) == 0.5

    def test_a_mask_that_was_cut_off(self, tokenizer):
        row = {"text": "Where was Bo born? [MASK]", "label": 7, "mentions": []}
        with pytest.raises(DataError, match="one mask among the first 4 tokens, found 0"):
            MaskHead(classes=300, max_length=4).batch(tokenizer, [row])

    @pytest.mark.parametrize("head", [Head(3), TypesHead(3), MaskHead(3), PairHead(3), PrototypeHead(3)])
    def test_a_loss_over_several_batches_is_that_over_all(self, head):
        """With accumulation, Trainer says how many items there are in all."""
        labels = torch.tensor([0, 2])
        given = {"logits": torch.randn(2, 3), "last_hidden_state": torch.randn(8, 1, 4)}
        if isinstance(head, TypesHead):
            labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
        if isinstance(head, PairHead):
            given["logits"] = torch.randn(6, 1)
        if isinstance(head, MaskHead):
            labels, given["logits"] = torch.tensor([[-100, 1], [2, -100]]), torch.randn(2, 2, 3)
        items = (labels != -100).sum()
        assert torch.allclose(head.loss(given, labels, 2 * items) * 2, head.loss(given, labels))


ROWS = read_wiki80(SENTENCES, "train", {name: i for i, name in enumerate(RELATIONS)})
HEAD = Head(classes=2, max_length=64)


def learning(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


class TestCheckpoints:
    def test_what_learns(self, base):
        everything = learning(HEAD.load(base))
        assert learning(prepare(HEAD.load(base), "fine-tuning", SETTINGS)) == everything
        biases = learning(prepare(HEAD.load(base), "bitfit", SETTINGS))
        assert biases == {name for name in everything if name.endswith("bias")} | {"classifier.weight"}
        lora = learning(prepare(HEAD.load(base), "lora", SETTINGS))
        assert {name.split(".")[-1] for name in lora if "lora" not in name} == {"weight", "bias"}
        assert all("lora" in name or "classifier" in name for name in lora)
        assert {part for part in ("query", "key", "value", "intermediate", "output") for n in lora if part in n} == {
            "query",
            "key",
            "intermediate",
        }
        adapters = learning(prepare(HEAD.load(base), "adapter", SETTINGS))
        assert all("output.dense.1." in name or "classifier" in name for name in adapters)
        assert len(adapters) == 2 * 2 * 4 + 2  # two layers, two adapters each of two linear layers; the head

    def test_the_head_of_a_language_model_stays(self, base):
        head = MaskHead(classes=300)
        model = prepare(head.load(base), "adapter", SETTINGS, head.is_trained)
        assert all("output.dense.1." in name for name in learning(model))

    def test_adapters_add_nothing_at_first(self, base, tokenizer):
        model = HEAD.load(base).eval()
        batch = HeadCollator(HEAD, tokenizer)(ROWS)
        before = model(**batch).logits
        assert model(**batch).logits.equal(before)
        prepare(model, "adapter", SETTINGS)
        assert model(**batch).logits.equal(before)

    def test_lora_keeps_the_biases_of_the_base(self, base, tokenizer):
        """The published code loses them."""
        bert = AutoModelForMaskedLM.from_pretrained(base)
        bias = torch.arange(16.0)
        with torch.no_grad():
            bert.bert.encoder.layer[0].attention.self.query.bias.copy_(bias)
        bert.save_pretrained(base + "-biased")
        model = make_checkpoint("lora", HEAD, base + "-biased", tokenizer, ROWS, SETTINGS)
        assert model.bert.encoder.layer[0].attention.self.query.bias.equal(bias)

    @pytest.mark.parametrize("method", METHODS)
    def test_it_learns_and_is_frozen_then(self, base, tokenizer, method):
        rate = 1e-2 if method in ("fine-tuning", "adapter") else 3e-2
        settings = Settings({method: Training(rate, 40, 8)}, task=TINY, rank=8)
        model = make_checkpoint(method, HEAD, base, tokenizer, ROWS, settings)
        assert not model.training
        assert not learning(model)
        assert score(HEAD, model, tokenizer, ROWS)[0] > 0.8

    def test_the_seed_decides(self, base, tokenizer):
        first, same, other = (
            make_checkpoint("bitfit", HEAD, base, tokenizer, ROWS, SETTINGS, seed).state_dict() for seed in (0, 0, 1)
        )
        assert all(tensor.equal(same[name]) for name, tensor in first.items())
        assert not first["classifier.weight"].equal(other["classifier.weight"])

    def test_wrong_methods(self, base):
        with pytest.raises(ValueError, match="expected one of fine-tuning"):
            prepare(HEAD.load(base), "prompts", SETTINGS)
        with pytest.raises(ValueError, match=r"no layers called output\.dense"):
            prepare(SimpleModel(), "adapter", SETTINGS)


class SimpleModel(torch.nn.Linear):
    base_model = torch.nn.Linear(1, 1)

    def __init__(self):
        super().__init__(2, 2)


CORPUS = [
    {"text": t, "mentions": m}
    for s in SENTENCES
    for t, m in [
        mark_words(
            s["token"],
            [
                Span(*s["h"]["pos"], f"wikidata:{s['h']['id']}", "#"),
                Span(*s["t"]["pos"], f"wikidata:{s['t']['id']}", "$"),
            ],
            "",
            markers=False,
        )
    ]
]


@pytest.fixture(scope="module")
def materials(base, tokenizer, kb) -> Materials:
    return Materials(base, tokenizer, kb, CORPUS, SETTINGS)


class TestInjections:
    def test_e_bert_is_a_linear_map_to_names(self, materials):
        plugin = e_bert(materials)
        assert plugin.config.mapping.kind == "affine"
        model = materials.load()
        names = torch.stack(
            [
                model.get_input_embeddings()
                .weight[materials.tokenizer(entity.label, add_special_tokens=False)["input_ids"]]
                .mean(0)
                for entity in materials.knowledge_base
            ]
        )
        found = plugin.word_embeddings([entity.id for entity in materials.knowledge_base])
        assert torch.allclose(found.mean(0), names.mean(0), atol=1e-4)

    def test_pelt_is_what_the_base_says_in_the_place_of_an_entity(self, materials):
        plugin = pelt(materials)
        model, tokenizer = materials.load(), materials.tokenizer
        city = f"wikidata:{IDS['Graz']}"
        total = torch.zeros(16)
        for row in CORPUS:
            for mention in row["mentions"]:
                if mention.entity_id == city:
                    text = f"{row['text'][: mention.start]}[MASK]{row['text'][mention.end :]}"
                    batch = tokenizer(text, return_tensors="pt")
                    with torch.no_grad():
                        states = model.cls.predictions.transform(model.bert(**batch).last_hidden_state)
                    total += states[batch["input_ids"] == tokenizer.mask_token_id][0]
        expected = total / total.norm() * model.get_input_embeddings().weight.norm(dim=1).mean()
        assert torch.allclose(plugin.word_embeddings([city])[0], expected, atol=1e-5)
        assert len(plugin.knowledge_base) == 11  # Hal is in no knowledge base

    def test_pelt_needs_a_corpus(self, materials):
        with pytest.raises(DataError, match="no sentence of the corpus"):
            pelt(Materials(materials.base, materials.tokenizer, materials.knowledge_base, [], SETTINGS))

    def test_general_map_tuning_trains_the_mapping_alone(self, materials):
        plugin, again = general(materials), general(materials)
        ids = [entity.id for entity in materials.knowledge_base]
        assert plugin.word_embeddings(ids).equal(again.word_embeddings(ids))
        untrained = general(Materials(**{**vars(materials), "settings": SETTINGS.shortened(0.01)}))
        assert not plugin.word_embeddings(ids).allclose(untrained.word_embeddings(ids), atol=1e-4)

    def test_a_trained_plugin_gives_its_mapping(self, materials):
        trained = e_bert(materials)
        plugin = general(Materials(**{**vars(materials), "trained": trained}))
        ids = [entity.id for entity in materials.knowledge_base]
        assert plugin.word_embeddings(ids).equal(trained.word_embeddings(ids))

    @pytest.mark.parametrize("injection", ["e-bert", "pelt", "general"])
    @pytest.mark.parametrize("control", ["shuffled", "random"])
    def test_controls_have_the_same_entities_and_other_vectors(self, materials, injection, control):
        plugin, other = make_plugin(injection, materials), make_plugin(injection, materials, control)
        ids = sorted(entity.id for entity in plugin.knowledge_base)
        assert sorted(entity.id for entity in other.knowledge_base) == ids
        assert not other.word_embeddings(ids).allclose(plugin.word_embeddings(ids), atol=1e-3)

    def test_task_specific_goes_on_from_a_plugin_and_leaves_it_alone(self, materials, tokenizer):
        plugin = e_bert(materials)
        ids = [entity.id for entity in materials.knowledge_base]
        before = plugin.word_embeddings(ids)
        checkpoint = make_checkpoint("fine-tuning", HEAD, materials.base, tokenizer, ROWS, SETTINGS)
        weights = {name: tensor.clone() for name, tensor in checkpoint.state_dict().items()}
        tuned = task_specific(plugin, checkpoint, HEAD, ROWS, materials)
        assert plugin.word_embeddings(ids).equal(before)
        assert not tuned.word_embeddings(ids).equal(before)
        assert (tuned.word_embeddings(ids) - before).abs().max() < 0.1
        assert all(tensor.equal(weights[name]) for name, tensor in checkpoint.state_dict().items())

    def test_an_unknown_entity_gets_no_prefix(self, materials, tokenizer):
        """The published code puts the mapping's bias in front of it."""
        plugin = e_bert(materials)
        checkpoint = HEAD.load(materials.base).eval()
        hal = [row for row in ROWS if "Hal" in row["text"]]
        with plugin.attach(checkpoint, tokenizer) as attachment:
            batch = HEAD.batch(attachment.tokenizer, hal)
            assert attachment.mentions_linked == 1  # the city alone
        length = len(HEAD.batch(tokenizer, hal)["input_ids"][0])
        assert len(batch["input_ids"][0]) == length + 2

    def test_entities_stand_between_marker_and_mention(self, materials, tokenizer):
        checkpoint = HEAD.load(materials.base).eval()
        with e_bert(materials).attach(checkpoint, tokenizer) as attachment:
            tokens = attachment.tokenizer.convert_ids_to_tokens(
                HEAD.batch(attachment.tokenizer, ROWS[1:2])["input_ids"][0]
            )
        words = "[CLS] # <wikidata:Q2> / bo # is the mayor of $ <wikidata:Q10> / graz $ . [SEP]".split()
        assert tokens == words

    def test_descriptions_stand_behind_the_text(self):
        descriptions = {"wikidata:Q2": "Bo lives", "wikidata:Q10": "Graz lives"}
        row = with_descriptions(ROWS[1:2], descriptions)[0]
        assert row["text"] == "# Bo # is the mayor of $ Graz $ . Bo lives Graz lives"
        assert spans(row) == spans(ROWS[1])
        episode = {"query": ROWS[1], "supports": [[ROWS[1]], [ROWS[0]]], "label": 0}
        described = with_descriptions([episode], descriptions)[0]
        assert described["query"]["text"] == described["supports"][0][0]["text"] == row["text"]
        assert described["supports"][1][0]["text"] == ROWS[0]["text"]

    def test_reading_descriptions(self, tmp_path):
        (tmp_path / "text.txt").write_text("Q2\tBo lives\nQ3\tCleo lives\n")
        assert read_descriptions(tmp_path / "text.txt", {"wikidata:Q2"}) == {"wikidata:Q2": "Bo lives"}
        (tmp_path / "text.txt").write_text("Q2\tBo lives\nQ3 Cleo lives\n")
        with pytest.raises(DataError, match=r"text\.txt, line 2"):
            read_descriptions(tmp_path / "text.txt", {"wikidata:Q2"})

    def test_a_knowledge_base_of_what_is_mentioned(self, kb, monkeypatch):
        small = restricted(kb, ["wikidata:Q2", "wikidata:Q8", "wikidata:Q2"])
        assert [entity.label for entity in small] == ["Bo"]
        assert small.vectors([0]).equal(kb.vectors(kb.rows(["wikidata:Q2"])))
        monkeypatch.setattr(injections, "_FEW", 0)  # then all of it is read, as if there were many
        again = restricted(kb, ["wikidata:Q3", "wikidata:Q8", "wikidata:Q2"])
        assert [entity.label for entity in again] == ["Cleo", "Bo"]
        assert again.vectors([0, 1]).equal(kb.vectors(kb.rows(["wikidata:Q3", "wikidata:Q2"])))
        with pytest.raises(DataError, match="none of 1 mentions"):
            restricted(kb, ["geonames:5"])


class TestExperiment:
    def test_knowledge_helps_and_noise_does_not(self, base, tokenizer):
        """Who is an artist stands in the vector and not in the name. Where they live gives it away, if it is said."""
        rng = random.Random(0)
        names = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
        artists = {name: rng.random() < 0.5 for name in names}
        vectors = torch.randn(len(names), 8, generator=torch.Generator().manual_seed(5)) * 0.3
        vectors[:, 0] = torch.tensor([2.0 * artists[name] - 1 for name in names])
        entities = [Entity(f"wikidata:{name}", name) for name in names]
        kb = KnowledgeBase.from_entities(entities, vectors, name="artists")
        rng.shuffle(names)
        rows = []
        for i, name in enumerate(names):
            city = rng.choice(CITIES[:2] if artists[name] else CITIES[2:])
            text = f"$ {name} $ lives" + (f" in {city}" if i % 2 and i < 60 else "")
            rows.append({"text": text, "label": int(artists[name]), "mentions": [Mention(2, 4, f"wikidata:{name}")]})
        task = Task("toy", Head(2, 64), rows[:60], rows[60:])
        settings = Settings({"fine-tuning": Training(3e-3, 15, 8)}, task=Training(3e-2, 20, 8, 0.0), general=TINY)
        plan = Plan(["fine-tuning"], ["none", "task-specific"], ["shuffled"])
        cells = run(task, Ingredients(base, tokenizer, kb, rows), plan, settings)
        values = {(cell.injection, cell.control): cell.value for cell in cells}
        assert values["task-specific", None] > 0.9
        assert values["task-specific", None] > values["none", None] + 0.2
        assert values["task-specific", None] > values["task-specific", "shuffled"] + 0.2

    def test_a_table_says_what_was_not_linked(self):
        cells = [
            Cell(0, "lora", "none", None, 0.5, 4, 8, 0),
            Cell(1, "lora", "none", None, 0.7, 4, 8, 0),
            Cell(0, "lora", "general", None, 0.5, 4, 8, 0),
            Cell(0, "lora", "e-bert", None, 0.25, 4, 8, 6),
            Cell(0, "lora", "e-bert", "shuffled", 0.25, 4, 8, 6),
        ]
        assert warnings(cells) == ["general map-tuning: not one mention was linked, so this is the row of nothing."]
        shown = table(SimpleNamespace(name="toy", head=HEAD, note="half of it"), cells)
        assert "toy: accuracy in percent, n = 4, 2 seeds" in str(shown.title)
        assert "half of it" in str(shown.title)
        columns = [list(column.cells) for column in shown.columns]
        assert columns[0] == [
            "nothing",
            "E-BERT-like: aligned in closed form",
            "  the same, shuffled vectors",
            "general map-tuning",
        ]
        assert columns[1] == ["60.0 (50.0 to 70.0)", "25.0", "25.0", "50.0"]
        assert columns[2] == ["", "6 of 8", "6 of 8", "0 of 8"]

    def test_unknown_tasks(self, tokenizer, kb):
        with pytest.raises(ValueError, match="expected one of fewrel"):
            load_task("glue", [], tokenizer, kb, Options())

    def test_every_task_has_the_settings_of_the_paper(self):
        for settings in PUBLISHED.values():
            assert tuple(settings.adaptation) == METHODS
        assert PUBLISHED["wiki80"].adaptation["fine-tuning"] == Training(5e-5, 15, 32)
        assert PUBLISHED["wiki80"].task == Training(4e-4, 30, 64, 0.3)
        assert PUBLISHED["wiki-et"].general == Training(3e-5, 5, 64, 0.25, constant=True)


class TestEachTaskRuns:
    """From the files to the table."""

    def run(self, name, data, base, kb, folder, *more) -> list[dict]:
        kb.save_pretrained(folder / "kb")
        write_lines(folder / "wiki20m_train.txt", SENTENCES)
        options = ["--data", data, "--base", base, "--knowledge-base", folder / "kb", "--epochs", 1, "--seeds", 0]
        options += ["--corpus", folder / "wiki20m_train.txt", "--folder", folder / "out", "--limit", 10, *more]
        main([name, *map(str, options)])
        return json.loads((folder / "out" / f"{name}.json").read_text())

    def test_wiki80_with_everything(self, wiki80, base, kb, tmp_path, capsys):
        cells = self.run("wiki80", wiki80, base, kb, tmp_path)
        controlled = len(INJECTIONS) - 2  # all but nothing and text
        assert len(cells) == len(METHODS) * (2 + 3 * controlled)
        assert {cell["method"] for cell in cells} == set(METHODS)
        assert all(0 <= cell["value"] <= 1 for cell in cells)
        assert {(cell["n"], cell["mentions"]) for cell in cells} == {(8, 16)}
        assert {cell["linked"] for cell in cells} == {0, 15}  # nobody knows Hal
        printed = capsys.readouterr().out
        assert "wiki80: accuracy in percent, n = 8, seed 0" in printed
        assert "15 of 16" in printed
        assert printed.count("the same, shuffled vectors") == controlled

    def test_wiki_et(self, wiki_et, base, kb, tmp_path, capsys):
        more = ["--entity2id", wiki_et / "entity2id.txt", "--methods", "lora", "--injections", "none", "task-specific"]
        cells = self.run("wiki-et", wiki_et, base, kb, tmp_path, *more, "--controls", "-")
        assert [cell["linked"] for cell in cells] == [0, 7]
        assert "wiki-et: micro-F1 in percent" in capsys.readouterr().out

    def test_entity_questions(self, questions, base, kb, tmp_path, capsys):
        more = ["--methods", "bitfit", "--injections", "none", "text", "pelt", "task-specific"]
        cells = self.run("entity-questions", questions, base, kb, tmp_path, *more, "--controls", "random")
        assert [(cell["injection"], cell["control"], cell["linked"]) for cell in cells] == [
            ("none", None, 0),
            ("text", None, 8),
            ("pelt", None, 8),
            ("pelt", "random", 8),
            ("task-specific", None, 8),
            ("task-specific", "random", 8),
        ]
        assert "8 of 9 questions" in capsys.readouterr().out

    @pytest.mark.parametrize("name", ["fewrel-episodes", "fewrel-prototypes"])
    def test_fewrel_episodes(self, fewrel, base, kb, tmp_path, name, capsys):
        more = ["--ways", 2, "--shots", 2, "--episodes", 1, 1, "--methods", "adapter", "--controls", "-"]
        cells = self.run(name, fewrel, base, kb, tmp_path, *more, "--injections", "none", "e-bert", "task-specific")
        assert [cell["n"] for cell in cells] == [10, 10, 10]
        pairs = (
            2 * 4 if name == "fewrel-episodes" else 1 + 4
        )  # sentences that are read for a query, two mentions in each
        assert {cell["mentions"] for cell in cells} == {10 * pairs * 2}
        assert cells[0]["linked"] == 0
        assert 0.7 * cells[1]["mentions"] < cells[1]["linked"] == cells[2]["linked"] < cells[1]["mentions"]
        assert "2-way 2-shot" in capsys.readouterr().out

    def test_fewrel_as_plain_classification(self, fewrel, base, kb, tmp_path):
        plugin = KnowledgePlugin.for_model(AutoModelForMaskedLM.from_pretrained(base), kb, mapping="affine")
        plugin.save_pretrained(tmp_path / "plugin")
        options = ["--data", fewrel, "--base", base, "--plugin", tmp_path / "plugin", "--epochs", 1, "--seeds", 0, 1]
        options += [
            "--folder",
            tmp_path,
            "--methods",
            "fine-tuning",
            "--injections",
            "none",
            "general",
            "--controls",
            "-",
        ]
        main(["fewrel", *map(str, options)])
        cells = json.loads((tmp_path / "fewrel.json").read_text())
        assert [(cell["seed"], cell["injection"]) for cell in cells] == [
            (0, "none"),
            (0, "general"),
            (1, "none"),
            (1, "general"),
        ]
