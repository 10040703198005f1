"""WordNet, from its database files to a knowledge base that finds words in text.

    python -m examples.wordnet                   # Debian: apt install wordnet-base
    python -m examples.wordnet --folder WNdb/dict --out wordnet-kb

Synsets are the entities, their words the aliases, their glosses the descriptions; the vectors come from the pointers
between synsets (TransE, 128 wide, some minutes for all 82,000 nouns).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from knowledge_plugin import DictionaryLinker, KnowledgeBase
from knowledge_plugin.building.builder import build_knowledge_base
from knowledge_plugin.building.embedders import GraphEmbedder
from knowledge_plugin.building.readers.wordnet import DEFAULT_FOLDER
from knowledge_plugin.building.summary import BuildSummary

TEXT = "The dog slept under the table, and the living thing above it was a cat."


def build(folder: Path, output: Path, dim: int = 128, epochs: int | None = None) -> BuildSummary:
    """Build a knowledge base of WordNet's nouns; an interrupted build goes on."""
    return build_knowledge_base(
        output,
        folder,
        triples=folder,
        embedder=GraphEmbedder(dim=dim, epochs=epochs, held_out=0.02),
        name="wordnet",
        id_scheme="wordnet",
        license="WordNet 3.0 license",
    )


def found_words(kb: Path, text: str) -> list[tuple[str, str, str]]:
    """Return the words of a text that are linked, each with its synset and its gloss."""
    opened = KnowledgeBase.from_pretrained(kb)
    (mentions,) = DictionaryLinker(opened)([text])
    return [(text[m.start : m.end], m.entity_id, opened[m.entity_id].description or "") for m in mentions]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where data.noun lies")
    parser.add_argument("--out", type=Path, help="where to keep the knowledge base")
    parser.add_argument("--dim", type=int, default=128)
    options = parser.parse_args(arguments)
    if not (options.folder / "data.noun").is_file():
        sys.exit(f"skipped: WordNet is not in {options.folder}. Type: apt install wordnet-base, or --folder FOLDER")
    with tempfile.TemporaryDirectory() as folder:
        output = options.out or Path(folder) / "kb"
        print(build(options.folder, output, options.dim))
        print(f"\n{TEXT}")
        for word, synset, gloss in found_words(output, TEXT):
            print(f"  {word} -> {synset}: {gloss[:60]}")


if __name__ == "__main__":
    main()
