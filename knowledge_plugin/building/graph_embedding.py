"""Entity vectors from a graph of triples, trained with PyKEEN."""

from __future__ import annotations

import gc
import logging
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from knowledge_plugin.building.pykeen_import import import_pykeen
from knowledge_plugin.errors import KnowledgeBaseError
from knowledge_plugin.knowledge_base.triples import checked_triples

_RANKED_TOGETHER = 256  # held-out triples, each against all entities


def embed_graph(
    triples: Iterable[tuple[str, str, str]],
    *,
    model: str = "TransE",
    dim: int = 128,
    epochs: int | None = None,
    batch_size: int = 4096,
    learning_rate: float = 0.01,
    negatives: int = 4,
    margin: float = 4.0,
    model_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> tuple[list[str], torch.Tensor]:
    """Train a knowledge-graph embedding and return one vector per entity.

    The defaults are those of a TransE that learns quickly: the self-adversarial loss, Adam, few negatives.
    What the vectors are worth shows in a linear probe for something known of the entities. Look at one before
    tuning a mapping, because knowledge that is not in the vectors does not come out of them.

    Args:
        triples: (head, relation, tail). Repeated triples count once.
        model: Name of a model of PyKEEN, for example ``"TransE"``, ``"DistMult"`` or ``"RotatE"``.
        dim: Width of a vector. Complex vectors come back as their real and imaginary parts, and need an even
            width.
        epochs: How often each triple is seen. ``None``: as often as makes 300 steps of a full
            batch, and at least 5 times, at most 300.
        batch_size: Triples per step.
        learning_rate: Of Adam.
        negatives: Corrupted triples per triple.
        margin: Of the loss, in units of the model's score.
        model_options: Further arguments of PyKEEN's model; ``loss`` and ``loss_kwargs`` replace the loss and
            its margin.
        seed: For weights, order and corrupted triples. The caller's random state is left as it was.
        device: Where to train.
        progress: Show a progress bar on stderr.

    Returns:
        Entity ids in ascending order, and their vectors as float32 ``[n, dim]`` on the CPU.

    Raises:
        MissingDependencyError: PyKEEN is not installed.
        KnowledgeBaseError: No triples, something that is no triple of texts, a model that PyKEEN does not
            have or that has no vector of this width per entity, or training that diverged.
    """
    entities, vectors, _ = embed_and_measure_graph(
        triples,
        held_out=0.0,
        model=model,
        dim=dim,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        negatives=negatives,
        margin=margin,
        model_options=model_options,
        seed=seed,
        device=device,
        progress=progress,
    )
    return entities, vectors


def embed_and_measure_graph(
    triples: Iterable[tuple[str, str, str]],
    *,
    held_out: float = 0.1,
    model: str = "TransE",
    dim: int = 128,
    epochs: int | None = None,
    batch_size: int = 4096,
    learning_rate: float = 0.01,
    negatives: int = 4,
    margin: float = 4.0,
    model_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> tuple[list[str], torch.Tensor, dict[str, float]]:
    """Train as :func:`embed_graph` does, on a part of the triples, and rank the others.

    Half of what is held out says when to stop: every tenth of the epochs, until its hits@10 have not become better
    three times in a row. The other half is ranked at the end: among all entities as head and as tail, known triples
    left out, ties at their mean rank (PyKEEN's filtered, realistic ranks).

    Args:
        triples: As there.
        held_out: Share of the triples that is not trained on; each entity stays in some triple that is. 0: none, and
            nothing is measured.
        model: As there, and so are all others.
        dim: See there.
        epochs: At most.
        batch_size: See there.
        learning_rate: See there.
        negatives: See there.
        margin: See there.
        model_options: See there.
        seed: Also of what is held out.
        device: See there.
        progress: See there.

    Returns:
        Ids and vectors as there, and hits@1, hits@10, MRR, the number of epochs and of ranked triples.

    Raises:
        MissingDependencyError: PyKEEN is not installed.
        KnowledgeBaseError: As there, or too few triples to hold any out.
    """
    unique = _unique(triples)
    import_pykeen()
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.models import model_resolver
    from pykeen.stoppers import EarlyStopper, NopStopper
    from pykeen.training import SLCWATrainingLoop
    from pykeen.triples import TriplesFactory

    try:
        model_resolver.lookup(model)
    except KeyError as error:
        known = ", ".join(sorted(cls.__name__ for cls in model_resolver))
        raise KnowledgeBaseError(f"model: PyKEEN has no {model!r}. Type one of: {known}.") from error

    entities = sorted({entity for head, _, tail in unique for entity in (head, tail)})
    entity_to_id = {entity: row for row, entity in enumerate(entities)}
    relation_to_id = {name: row for row, name in enumerate(sorted({relation for _, relation, _ in unique}))}
    factory = TriplesFactory(
        torch.tensor([(entity_to_id[h], relation_to_id[r], entity_to_id[t]) for h, r, t in unique]),
        entity_to_id,
        relation_to_id,
    )
    training, validation, testing = (factory, None, None) if not held_out else _split(factory, held_out, seed)
    # Of less than a batch, an epoch is a step.
    enough = max(5, math.ceil(300 * batch_size / max(batch_size, training.num_triples)))
    epochs = enough if epochs is None else epochs
    loss = {"loss": "nssa", "loss_kwargs": {"margin": margin, "adversarial_temperature": 1.0}}
    options = loss | dict(model_options or {})
    device = torch.device(device)
    # The seed is not given to PyKEEN, which would set that of Python and NumPy for the whole process.
    with _quiet(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = model_resolver.make(model, {"embedding_dim": dim} | options, triples_factory=training)
        if _vectors(network, model).is_complex() and dim % 2 == 0:
            options["embedding_dim"] = dim // 2
            network = model_resolver.make(model, options, triples_factory=training)
        network = network.to(device)
        loop = SLCWATrainingLoop(
            model=network,
            triples_factory=training,
            optimizer=torch.optim.Adam(network.get_grad_params(), lr=learning_rate),
            negative_sampler_kwargs={"num_negs_per_pos": negatives},
            automatic_memory_optimization=False,
        )
        stopper, evaluator, measures = (
            NopStopper(),
            RankBasedEvaluator(filtered=True),
            dict[str, float](),
        )
        if validation is not None:
            stopper = EarlyStopper(
                network,
                evaluator,
                training_triples_factory=training,
                evaluation_triples_factory=validation,
                frequency=max(1, epochs // 10),
                patience=3,
                relative_delta=0.01,
                evaluation_batch_size=_RANKED_TOGETHER,
            )
        losses = loop.train(
            training,
            num_epochs=epochs,
            batch_size=batch_size,
            stopper=stopper,
            use_tqdm=progress,
            use_tqdm_batch=False,
            tqdm_kwargs={"desc": f"{model}, {len(unique):,} triples"},
            pin_memory=False,
        )
        vectors = _vectors(network, model)
        if testing is not None and validation is not None:
            others = [training.mapped_triples, validation.mapped_triples]
            ranks = evaluator.evaluate(
                network,
                testing.mapped_triples,
                additional_filter_triples=others,
                batch_size=_RANKED_TOGETHER,
                use_tqdm=False,
                device=device,
            )
            measures = {
                "hits@1": ranks.get_metric("hits@1"),
                "hits@10": ranks.get_metric("hits@10"),
                "MRR": ranks.get_metric("mean_reciprocal_rank"),
                "epochs": float(len(losses)),
                "ranked triples": float(testing.num_triples),
            }
    if vectors.is_complex():
        vectors = torch.view_as_real(vectors).flatten(1)
    if vectors.shape != (len(entities), dim):
        raise KnowledgeBaseError(f"dim: the vectors of {model} are {vectors.shape[1]} wide, not {dim}.")
    if not torch.isfinite(vectors).all():
        raise KnowledgeBaseError(f"{model} diverged. Type a learning_rate lower than {learning_rate}.")
    return entities, vectors.float().cpu().contiguous(), measures


def _split(factory: Any, held_out: float, seed: int) -> tuple[Any, Any, Any]:
    if not 0 < held_out < 0.9 or factory.num_triples * held_out < 4:
        raise KnowledgeBaseError(
            f"held_out: expected a share of the {factory.num_triples} triples that makes at least 4 of them, found "
            f"{held_out}. Type held_out=0 to train on all and measure nothing."
        )
    try:
        return tuple(factory.split([1 - held_out, held_out / 2, held_out / 2], random_state=seed))
    except ValueError as error:
        raise KnowledgeBaseError(f"held_out: the triples cannot be split: {error}. Type held_out=0.") from error


def _unique(triples: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Check the triples and sort them, so that the order in which they came does not matter."""
    found = set(checked_triples(triples, KnowledgeBaseError))
    if not found:
        raise KnowledgeBaseError("expected at least one triple (head, relation, tail), found none.")
    return sorted(found)


def _vectors(network: Any, model: str) -> torch.Tensor:
    representations = getattr(network, "entity_representations", None)
    if not representations or len(representations[0].shape) != 1:
        raise KnowledgeBaseError(f"model: {model} has no vector per entity. Type for example model='TransE'.")
    with torch.no_grad():
        return representations[0](indices=None).detach()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyKEEN's remarks about its own settings from the user, who did not choose them."""
    loggers = [logging.getLogger(name) for name in ("pykeen", "torch_max_mem")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    # PyKEEN collects garbage after each epoch, and all of transformers takes longer to look at than an epoch.
    gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="pykeen")
            yield
    finally:
        gc.unfreeze()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
