"""Link a corpus, or embed descriptions, on one machine or on a cluster.

    python -m examples.corpus link corpus.parquet linked --knowledge-base cities-kb --workers 4
    python -m examples.corpus embed entities.parquet vectors --model all-MiniLM-L6-v2 --on cluster --workers 16

The corpus has a column ``text``; the entities have ``label`` and ``description``, as entities.parquet of a knowledge
base. On one machine the work is done by ``datasets``, on a cluster by Ray Data.
"""

from __future__ import annotations

import argparse

from examples.corpus.batch import EmbedDescriptions, LinkTexts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("link", "embed"))
    parser.add_argument("source", help="a Parquet file")
    parser.add_argument("target", help="a folder for Parquet files")
    parser.add_argument("--knowledge-base", help="link: folder, or dataset repo of the Hub")
    parser.add_argument("--disambiguate", choices=("prior", "context"), default="prior", help="link: see the linker")
    parser.add_argument("--model", help="embed: a sentence-transformers model")
    parser.add_argument("--on", choices=("machine", "cluster"), default="machine")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.what == "link":
        if arguments.knowledge_base is None:
            parser.error("link needs --knowledge-base")
        function = LinkTexts(arguments.knowledge_base, arguments.disambiguate)
    else:
        if arguments.model is None:
            parser.error("embed needs --model")
        function = EmbedDescriptions(arguments.model)
    if arguments.on == "machine":
        from examples.corpus.on_one_machine import run
    else:
        from examples.corpus.on_a_cluster import run
    run(function, arguments.source, arguments.target, arguments.workers, arguments.batch_size)


if __name__ == "__main__":
    main()
