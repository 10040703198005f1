"""An ontology of your own, from an OBO file to an attached plugin.

    python -m examples.ontology                  # seconds
    python -m examples.ontology terms.obo        # your file instead of one that is made up

The file is read twice: its terms are the entities, their names and synonyms the aliases, and its ``is_a`` and other
relations the triples from which PyKEEN makes the vectors. The plugin that is attached at the end is untrained; map-tune
it, or align it, as the README shows.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from knowledge_plugin import KnowledgeBase, KnowledgePlugin, Mention
from knowledge_plugin.building.builder import build_knowledge_base
from knowledge_plugin.building.embedders import GraphEmbedder
from knowledge_plugin.building.summary import BuildSummary

KINDS = ("fever", "rash", "cough", "fracture", "ulcer")
PLACES = ("lung", "skin", "knee", "throat", "stomach", "wrist", "ear", "heel")


def write_ontology(path: Path, terms: int = 200, seed: int = 0) -> None:
    """Write an OBO file of findings: kinds, places, and so many terms in all that are one in the other."""
    rng = random.Random(seed)
    lines = ["format-version: 1.2", "ontology: made-up", ""]
    heads = [*(f"K:{i}|{kind}" for i, kind in enumerate(KINDS)), *(f"P:{i}|{place}" for i, place in enumerate(PLACES))]
    for head in heads:
        term_id, name = head.split("|")
        lines += ["[Term]", f"id: {term_id}", f"name: {name}", ""]
    for number in range(terms - len(heads)):
        kind, place = rng.randrange(len(KINDS)), rng.randrange(len(PLACES))
        name = f"{PLACES[place]} {KINDS[kind]} type {number}"
        lines += ["[Term]", f"id: F:{number}", f"name: {name}", f'synonym: "{KINDS[kind]} F{number}" EXACT []']
        lines += [f'def: "A {KINDS[kind]} of the {PLACES[place]}." []', f"is_a: K:{kind}"]
        lines += [f"relationship: located_in P:{place}", ""]
    lines += ["[Typedef]", "id: located_in", "name: located in", ""]
    path.write_text("\n".join(lines))


def build(path: Path, output: Path, dim: int = 32) -> BuildSummary:
    """Build a knowledge base from the file."""
    return build_knowledge_base(
        output, path, triples=path, embedder=GraphEmbedder(dim=dim), name=path.stem, id_scheme="obo", progress=False
    )


def attach(folder: Path, text: str) -> list[Mention]:
    """Attach an untrained plugin to a small model and return what it links in a text."""
    model, tokenizer = small_model(text)
    plugin = KnowledgePlugin.for_model(model, KnowledgeBase.from_pretrained(folder), tokenizer)
    with plugin.attach(model, tokenizer) as attachment:
        attached, linking = attachment
        attached(**linking(text, return_tensors="pt"))
        return attachment.explain(text)


def small_model(text: str) -> tuple[BertForSequenceClassification, PreTrainedTokenizerFast]:
    """Stand in for a checkpoint of yours."""
    words = ["[UNK]", "[PAD]", "/", *sorted(set(text.lower().replace(".", "").split()))]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    return BertForSequenceClassification(config).eval(), tokenizer


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("obo", type=Path, nargs="?", help="an OBO file; without one, a made-up ontology of 200 terms")
    parser.add_argument("--text", help="what to link in; without one, a sentence with two names of the ontology")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = options.obo or Path(folder) / "findings.obo"
        if options.obo is None:
            write_ontology(path)
        print(build(path, Path(folder) / "kb"))
        first, second = list(KnowledgeBase.from_pretrained(Path(folder) / "kb"))[-2:]
        text = options.text or f"Seen today: {first.label} and the {second.names[-1]}."
        print(f"\n{text}")
        for mention in attach(Path(folder) / "kb", text):
            print(f"  {text[mention.start : mention.end]} -> {mention.entity_id}")


if __name__ == "__main__":
    main()
