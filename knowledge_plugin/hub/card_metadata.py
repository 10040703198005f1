"""What the Hub reads of a card: the YAML between the lines ``---``.

Only what is known is said, and only in a form that the Hub takes: it refuses a whole push for the wrong name of a
licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeGuard

import yaml
from huggingface_hub import EvalResult
from huggingface_hub.errors import HFValidationError
from huggingface_hub.repocard_data import eval_results_to_model_index
from huggingface_hub.utils import validate_repo_id

from knowledge_plugin.config import LIBRARY_NAME, KnowledgeBaseConfig, KnowledgePluginConfig
from knowledge_plugin.hub.markdown import as_slug, one_line
from knowledge_plugin.results import EvaluationResult

# Identifiers that the Hub takes; any other licence is "other", with its name beside it.
_LICENSES = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m bsd
    bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
    cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
    creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 gemma gfdl gpl gpl-2.0
    gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail
    openrail++ osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib
    """.split()
)
_LANGUAGE = re.compile(r"[a-z]{2,3}|multilingual|code")


def plugin_metadata(
    config: KnowledgePluginConfig,
    knowledge_base: KnowledgeBaseConfig,
    *,
    license: str | None = None,
    language: Sequence[str] = (),
    datasets: Sequence[str] = (),
    results: Sequence[EvaluationResult] = (),
    **_: Any,
) -> dict[str, Any]:
    """Return the metadata of a plugin's card.

    Args:
        config: Of the plugin.
        knowledge_base: Of its knowledge base.
        license: Of the plugin; ``None`` for that of its knowledge, which it passes on.
        language: Codes of the languages of the text that it is for.
        datasets: Repos of what it was trained on.
        results: What it was measured to do.
    """
    base_models = [name for name in [config.base_model.name] if is_repo_id(name)]
    shared = config.knowledge_base.repo_id if config.knowledge_base else None
    knowledge = {"name": knowledge_base.name, "license": knowledge_base.license, "version": knowledge_base.version}
    return _present(
        {
            "library_name": LIBRARY_NAME,
            **_base_models(base_models),
            **_license(license or knowledge_base.license),
            "language": [code for code in language if _LANGUAGE.fullmatch(code)],
            "datasets": [name for name in dict.fromkeys([shared, *datasets]) if is_repo_id(name)],
            "tags": _tags(base_models, [config.injection.method, config.mapping.kind, as_slug(knowledge_base.name)]),
            "knowledge_base": _present({key: one_line(value or "") for key, value in knowledge.items()}),
            "metrics": list(dict.fromkeys(one_line(result.metric) for result in results)),
            "model-index": _model_index(one_line(knowledge_base.name) or LIBRARY_NAME, results),
        }
    )


def knowledge_base_metadata(config: KnowledgeBaseConfig, *, language: Sequence[str] = (), **_: Any) -> dict[str, Any]:
    """Return the metadata of a knowledge base's card: of a dataset repo, whose tables the Hub's viewer shows."""
    return _present(
        {
            **_license(config.license),
            "language": [code for code in language if _LANGUAGE.fullmatch(code)],
            "tags": [LIBRARY_NAME, "knowledge-base", *_present([as_slug(config.name)])],
            "configs": [{"config_name": name, "data_files": f"{name}.parquet"} for name in ("entities", "aliases")],
        }
    )


def plugins_metadata(
    configs: Mapping[str, KnowledgePluginConfig], base_models: Sequence[str], *, license: str | None = None, **_: Any
) -> dict[str, Any]:
    """Return the metadata of the card above the plugins of several subfolders."""
    known = [name for name in base_models if is_repo_id(name)]
    methods = sorted({config.injection.method for config in configs.values()})
    return _present(
        {
            "library_name": LIBRARY_NAME,
            **_base_models(known, always_listed=True),
            **_license(license),
            "tags": _tags(known, [*methods, *sorted({config.mapping.kind for config in configs.values()})]),
        }
    )


def front_matter(metadata: Mapping[str, Any]) -> str:
    """Return metadata as the head of a card; nothing for none."""
    if not metadata:
        return ""
    # However long, a value stays on its line.
    return f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=2**31)}---\n"


def is_repo_id(name: str | None) -> TypeGuard[str]:
    """Return whether a repo of the Hub can be called that; a path cannot."""
    try:
        validate_repo_id(name or "")
    except HFValidationError:
        return False
    return name == one_line(name)  # the client takes a line end behind it


def _base_models(names: list[str], always_listed: bool = False) -> dict[str, Any]:
    if not names:
        return {}
    return {"base_model": names if always_listed else names[0], "base_model_relation": "adapter"}


def _tags(base_models: Iterable[str], others: Iterable[str]) -> list[str]:
    adapters = [f"base_model:adapter:{name}" for name in base_models]
    return list(dict.fromkeys(_present([LIBRARY_NAME, *others, *adapters])))


def _license(name: str | None) -> dict[str, str]:
    name = one_line(name or "")
    if not name:
        return {}
    if (identifier := name.lower().replace(" ", "-")) in _LICENSES:
        return {"license": identifier}
    return {"license": "other", "license_name": as_slug(name) or "other"}


def _model_index(name: str, results: Sequence[EvaluationResult]) -> list[dict[str, Any]]:
    """Return the results as the Hub wants them: with the plugin alone, since all of them count as the model's own."""

    def dataset(result: EvaluationResult) -> tuple[str, ...]:
        return tuple(
            part or "" for part in (result.task, result.dataset, result.dataset_id, result.split, result.model)
        )

    found: list[dict[str, Any]] = []
    # A dataset at a time: the client would take those without an id for one and the same.
    for _, group in groupby(sorted(results, key=dataset), key=dataset):
        entries = [
            EvalResult(
                task_type=one_line(result.task),
                dataset_type=result.dataset_id if is_repo_id(result.dataset_id) else "unknown",
                dataset_name=one_line(result.dataset),
                dataset_split=one_line(result.split) if result.split else None,
                dataset_revision=one_line(result.dataset_revision) if result.dataset_revision else None,
                metric_type=one_line(result.metric),
                metric_value=result.score.value,
            )
            for result in group
        ]
        found += eval_results_to_model_index(name, entries)[0]["results"]
    return [{"name": name, "results": found}] if found else []


def _present(values: Any) -> Any:
    """Return a dict or a list without what is empty."""
    if isinstance(values, dict):
        return {key: value for key, value in values.items() if value}
    return [value for value in values if value]
