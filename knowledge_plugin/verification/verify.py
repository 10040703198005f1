"""From a name to a list of all that is wrong there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from knowledge_plugin.config import (
    CONFIG_NAME,
    KNOWLEDGE_BASE_FOLDER,
    KnowledgeBaseConfig,
    KnowledgePluginConfig,
    read_config,
)
from knowledge_plugin.errors import ArtifactError, HubError
from knowledge_plugin.hub.snapshot import resolve_folder
from knowledge_plugin.injection.fingerprint import decode_fingerprint
from knowledge_plugin.knowledge_base.tables import ENTITIES_NAME
from knowledge_plugin.plugin import MAPPING_NAME
from knowledge_plugin.registry import find_method
from knowledge_plugin.verification.files import check_card, check_files, check_strangers, read
from knowledge_plugin.verification.findings import Finding, Findings
from knowledge_plugin.verification.freshness import looks_untrained
from knowledge_plugin.verification.knowledge_base import check_knowledge_base

_Resolve = Callable[..., Path]


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found.

    Attributes:
        artifact: The name that was given.
        kind: ``"knowledge-plugin"``, ``"knowledge-plugins"`` (several, in subfolders) or ``"knowledge-base"``.
        findings: All that is wrong, errors first.
    """

    artifact: str
    kind: str
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        """Whether there are no errors; there may be warnings."""
        return all(finding.severity != "error" for finding in self.findings)


def verify(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    subfolder: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Verification:
    """Read every byte of a plugin or a knowledge base, and list everything that is wrong with it.

    Format, config, sizes and checksums, shapes and dtypes, finite vectors and weights, ids that occur once, names that
    lead to entities, priors, the fingerprint of the base model, licences, and the metadata of the card; in a folder
    also files that do not belong there (of a repo nothing but the artifact is fetched).

    Args:
        name_or_path: A folder, or ``"user/name"``: a plugin, several plugins in subfolders, or a knowledge base.
        revision: Branch, tag or commit.
        subfolder: Folder within the repo.
        token: Access token, or ``None`` for the one that is logged in.
        cache_dir: Cache of huggingface_hub.
        local_files_only: Take it from the cache or not at all.

    Raises:
        ArtifactError: There is neither a plugin nor a knowledge base.
        HubError: The repo, the revision or the network is not there.

    Example:
        >>> import tempfile
        >>> from knowledge_plugin import Entity, KnowledgeBase
        >>> kb = KnowledgeBase.from_entities([Entity("x:1", "Ada")], [[1.0]], name="people")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     kb.save_pretrained(folder)
        ...     print(verify(folder).findings[0].message)
        it states no licence of the knowledge: nobody knows what they may do with it.
    """
    is_folder = Path(name_or_path).expanduser().is_dir()
    # A folder never touches the network, even if what it refers to is not there.
    resolve = partial(resolve_folder, token=token, cache_dir=cache_dir, local_files_only=local_files_only or is_folder)
    folder = _resolve(name_or_path, resolve, revision, subfolder)
    findings = Findings(folder)
    if (folder / CONFIG_NAME).exists() or subfolder is not None:
        kind = _check(folder, findings, resolve, is_repo=subfolder is None)
    else:
        kind = "knowledge-plugins"
        names = [path.parent.name for path in sorted(folder.glob(f"*/{CONFIG_NAME}"))]
        if not set(names) - {KNOWLEDGE_BASE_FOLDER}:
            read_config(folder, KnowledgePluginConfig)  # which says that there is none
        for name in names:
            # Of what lies beside, only the configs have come along so far.
            inner = resolve(name_or_path, revision=revision, subfolder=name)
            with findings.catching(name):
                _check(inner, findings.within(inner, f"{name}/"), resolve, is_repo=False)
        check_card(folder, None, findings)
        check_strangers(folder, findings)
    ordered = sorted(findings.found, key=lambda finding: finding.severity)
    return Verification(str(name_or_path), kind, tuple(ordered))


def _resolve(name: str | Path, resolve: _Resolve, revision: str | None, subfolder: str | None) -> Path:
    try:
        return resolve(name, revision=revision, subfolder=subfolder)
    except HubError:
        with suppress(HubError):  # the name of a knowledge base?
            return resolve(name, repo_type="dataset", revision=revision, subfolder=subfolder)
        raise


def _check(folder: Path, findings: Findings, resolve: _Resolve, is_repo: bool) -> str:
    """Check what lies in a folder, and return which kind it is.

    Raises:
        ArtifactError: It is neither a plugin nor a knowledge base.
    """
    checks: list[Callable[..., tuple[str, str | None]]] = [_check_plugin, _check_knowledge_base]
    if (folder / ENTITIES_NAME).exists():  # tells more than a config that may be broken
        checks.reverse()
    try:
        kind, base_model = checks[0](folder, findings, resolve)
    except ArtifactError as error:
        try:
            kind, base_model = checks[1](folder, findings, resolve)
        except ArtifactError:
            raise error from None
    if is_repo:
        check_card(folder, base_model, findings, library=kind == KnowledgePluginConfig.artifact)
        check_strangers(folder, findings)
    return kind


def _check_knowledge_base(folder: Path, findings: Findings, resolve: _Resolve) -> tuple[str, None]:
    check_knowledge_base(folder, findings)
    return KnowledgeBaseConfig.artifact, None


def _check_plugin(folder: Path, findings: Findings, resolve: _Resolve) -> tuple[str, str | None]:
    """Check a plugin; return what it is, and the name of its base model."""
    config = read(folder, KnowledgePluginConfig, findings)
    if config is not None:
        if set(config.files) != {MAPPING_NAME}:
            findings.error(CONFIG_NAME, f"expected it to list {MAPPING_NAME}, found {sorted(config.files)[:5]}.")
        if MAPPING_NAME in check_files(folder, config.files, findings):
            _check_mapping(folder / MAPPING_NAME, config, findings)
        with findings.catching(CONFIG_NAME):
            decode_fingerprint(config.base_model)
        if config.base_model.name is None:
            findings.warning(CONFIG_NAME, "the base model has no name: who has that model cannot search by it.")
    kb = _check_knowledge(folder, config, findings, resolve)
    if config is not None and kb is not None and config.mapping.input_dim != kb.dim:
        findings.error(
            CONFIG_NAME,
            f"the mapping takes vectors of width {config.mapping.input_dim}, but those of the knowledge base "
            f"{kb.name!r:.80} are {kb.dim} wide.",
        )
    return KnowledgePluginConfig.artifact, None if config is None else config.base_model.name


def _check_mapping(path: Path, config: KnowledgePluginConfig, findings: Findings) -> None:
    make = find_method(config.injection.method).network
    # A config may declare a gigabyte of weights: they are made only where the file holds as many.
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in make(config).parameters())
    if (size := path.stat().st_size) < 4 * weights:
        findings.error(
            path.name, f"the config declares a mapping of {weights} float32 weights, but the file has {size} bytes."
        )
        return
    mapping = make(config)
    with findings.catching(path.name):
        mapping.load(path)
        if looks_untrained(mapping):
            findings.warning(path.name, f"the weights look like those of a fresh network{_what_then(config)}")


def _what_then(config: KnowledgePluginConfig) -> str:
    """Say what to do about weights that look fresh: a record of a training tells more than they do."""
    training = config.training
    if training is None or training.steps == 0:
        aligns = config.leads_to_words and config.mapping.kind == "affine"
        way = "align(plugin, model, tokenizer)" if aligns else "MapTuningTrainer(model, plugin=plugin, ...).train()"
        return f". Type: {way}"
    steps = "" if training.steps is None else f" in {training.steps} steps"
    return (
        f", although they learned by {training.objective!r:.80}{steps}: too little to be told apart, or of no effect. "
        "To see which, type: evaluate(plugin, model, tokenizer, dataset)"
    )


def _check_knowledge(
    folder: Path, config: KnowledgePluginConfig | None, findings: Findings, resolve: _Resolve
) -> KnowledgeBaseConfig | None:
    """Check the knowledge base of a plugin, inside it or in a repo of its own."""
    inner, prefix = folder / KNOWLEDGE_BASE_FOLDER, f"{KNOWLEDGE_BASE_FOLDER}/"
    reference = None if config is None else config.knowledge_base
    try:
        if reference is not None:
            prefix = f"{reference.repo_id}@{reference.revision[:7]}/"
            inner = resolve(reference.repo_id, repo_type="dataset", revision=reference.revision)
        if config is not None or inner.is_dir():
            return check_knowledge_base(inner, findings.within(inner, prefix))
    except (ArtifactError, HubError) as error:
        findings.error(prefix, error)
    return None
