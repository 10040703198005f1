"""The knowledge plugin: a knowledge base and the mapping network that carries it into a language model."""

from __future__ import annotations

import tempfile
import warnings
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitInfo
from torch import nn
from transformers import PreTrainedTokenizerBase

from knowledge_plugin.config import (
    CONFIG_NAME,
    KNOWLEDGE_BASE_FOLDER,
    Form,
    KnowledgeBaseConfig,
    KnowledgeBaseReference,
    KnowledgePluginConfig,
    LayerInjectionConfig,
    MappingKind,
    TokenInjectionConfig,
    read_config,
    to_json,
)
from knowledge_plugin.errors import (
    ArtifactError,
    AttachmentError,
    IncompatibleModelError,
    KnowledgePluginError,
    LinkingError,
    MappingError,
)
from knowledge_plugin.hub.card import keep_words, render_card, sealed, write_card
from knowledge_plugin.hub.folder import check_sums, describe_files, finish_save, staged
from knowledge_plugin.hub.push import push_folder
from knowledge_plugin.hub.snapshot import check_sums_once, commit_of, resolve_folder
from knowledge_plugin.injection.attachment import Attachment, attach, attachments
from knowledge_plugin.injection.embeddings import execution_device, input_embedding
from knowledge_plugin.injection.fingerprint import check_own_tokenizer, check_tokenizer, compare, describe_base_model
from knowledge_plugin.injection.hook import find_hooks
from knowledge_plugin.injection.mapping import MappingNetwork
from knowledge_plugin.injection.placement import IndexDevice, PlacedIndex, choose_gpu
from knowledge_plugin.injection.source import KnowledgeSource
from knowledge_plugin.injection.tokenizer import base_tokenizer
from knowledge_plugin.knowledge_base import KnowledgeBase, check_knowledge_base
from knowledge_plugin.knowledge_base.embedding_index import SHARD_PATTERN
from knowledge_plugin.knowledge_base.storage import without_vectors
from knowledge_plugin.linking import DictionaryLinker, Linker
from knowledge_plugin.registry import find_method
from knowledge_plugin.results import RESULT_FILES, EvaluationResult, read_results, write_results
from knowledge_plugin.subfolders import CONFIG_PATTERNS, check_subfolder, choose_subfolder, read_subfolders

MAPPING_NAME = "mapping.safetensors"
_SMALL_NETWORK = 2**20  # bytes; if one that small is not what its config says, its file is read and says why


class KnowledgePlugin:
    """A knowledge base and a mapping network; attach it to a frozen checkpoint.

    Make one with :meth:`for_model` (untrained) or :meth:`from_pretrained`.

    Attributes:
        config: What ``config.json`` will say.
        mapping: The mapping network, a small ``torch.nn.Module`` in float32.
        knowledge_base: The entities.
        results: What it was measured to do, for its card; see :class:`knowledge_plugin.results.EvaluationResult`.
    """

    def __init__(self, config: KnowledgePluginConfig, mapping: MappingNetwork, knowledge_base: KnowledgeBase) -> None:
        _check_width(config, knowledge_base)
        self.config = config
        self.mapping = mapping
        self.knowledge_base = knowledge_base
        self.index_device: IndexDevice = "auto"
        self.results: list[EvaluationResult] = []
        self._folder: Path | None = None  # opened from; what a person wrote into its card is pushed too
        self._attachments: weakref.WeakSet[Attachment] = weakref.WeakSet()

    def __repr__(self) -> str:
        m, base = self.config.mapping, self.config.base_model
        shape = f"{m.kind} {m.input_dim}->{m.output_dim}"
        return f"KnowledgePlugin({self.knowledge_base!r}, mapping={shape}, base={base.name!r})"

    def __getstate__(self) -> dict:
        # A copy, here or in another process, is attached to nothing.
        return {k: v for k, v in self.__dict__.items() if k != "_attachments"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _attachments=weakref.WeakSet())

    # ---- making one ----------------------------------------------------------------------------------------------

    @classmethod
    def for_model(
        cls,
        model: nn.Module,
        kb: KnowledgeBase,
        tokenizer: PreTrainedTokenizerBase | None = None,
        mapping: MappingKind | None = None,
        *,
        method: str = "map-tuning",
        **settings: Any,
    ) -> KnowledgePlugin:
        """Make an untrained plugin for a model and its family.

        Args:
            model: The frozen checkpoint, or the base that it was fine-tuned from.
            kb: The knowledge base.
            tokenizer: That of the model. If given, it is checked at once that it can carry virtual tokens and fits the
                model, and a few of its words travel with the plugin, so that another tokenizer is noticed when the
                plugin is attached.
            mapping: For map-tuning ``"mlp"`` (the default) or ``"affine"``, the paper's, which
                :func:`knowledge_plugin.align` can fit without any training.
            method: How knowledge enters the model; see :mod:`knowledge_plugin.registry`.
            **settings: Of the method: the keyword-only arguments of its ``configure``.

        Raises:
            IncompatibleModelError: The model has no word embeddings, or not what the method hangs on.
            KnowledgeBaseError: No knowledge base.
            TokenizerError: A slow tokenizer, or one with words that the model has no embedding for.
            MappingError: No such kind of mapping.
            ConfigError: No such method, or a setting that it does not have, or one out of bounds.

        Warns:
            UserWarning: The tokenizer is probably not that of the model. Or the method looks entries up, and
                ``key_dim`` is not given: what an entry is found by is then also all that it says.
        """
        check_knowledge_base(kb)
        kind = find_method(method)
        kind.check_settings(settings)
        base = None if tokenizer is None else base_tokenizer(tokenizer)
        base_model = describe_base_model(model, base)
        if base is not None:
            check_own_tokenizer(model, base)
        shape, injection = kind.configure(model, kb, mapping, **settings)
        if isinstance(injection, LayerInjectionConfig) and settings.get("key_dim") is None:
            _warn_of_whole_keys(injection, kb)
        config = KnowledgePluginConfig(base_model, shape, injection)
        network = kind.network(config)
        if kind.initialise is not None:
            kind.initialise(network, config, model)
        return cls(config, network.eval(), kb)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        index_device: IndexDevice = "auto",
        vectors: bool = True,
    ) -> KnowledgePlugin:
        """Open a plugin from a folder, or from a model repo of the Hub.

        A folder never touches the network. The entity vectors are mapped from disk, not read.

        A repo may hold several plugins, a subfolder each: one per base model. Without ``subfolder``, the first model
        that the plugin is attached to chooses among them, by its word embeddings.

        Args:
            name_or_path: A folder, or ``"user/name"``.
            revision: Branch, tag or commit.
            subfolder: Folder within the repo.
            token: Access token, or ``None`` for the one that is logged in.
            cache_dir: Cache of huggingface_hub.
            local_files_only: Take it from the cache or not at all.
            force_download: Download even if it is in the cache.
            index_device: Where the entity vectors are while the plugin is attached. ``"auto"``: on the GPU of the
                model's word embeddings if half of its free memory, by Accelerate's figures, holds them; else mapped
                from disk. ``"cuda"``, ``"cpu"`` (read into memory) and ``"disk"`` (mapped) say it outright.
            vectors: Whether to fetch the entity vectors, by far the largest part. Without them the plugin can be looked
                at and can link texts, but not be attached.

        Raises:
            ArtifactError: The folder is no plugin, or files are missing, truncated or altered.
            ConfigError: Its ``config.json`` is malformed or out of bounds, or of a newer format.
            MappingError: The weights are not what the config declares, or do not fit the knowledge base.
            HubError: The repo, the revision or the network is not there.
            AttachmentError: ``index_device="cuda"`` and there is no GPU.
        """
        # So that a missing GPU is said before anything is loaded.
        choose_gpu(0, index_device, torch.device("cpu"))
        options: dict[str, Any] = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        options["force_download"] = force_download
        leave_out = () if vectors else (f"*{SHARD_PATTERN}",)
        folder = resolve_folder(name_or_path, revision=revision, subfolder=subfolder, leave_out=leave_out, **options)
        if subfolder is None and not (folder / CONFIG_NAME).exists() and (several := read_subfolders(folder)):
            options |= {"revision": commit_of(folder) or revision, "index_device": index_device, "vectors": vectors}
            load = partial(cls.from_pretrained, name_or_path, **options)
            return load(subfolder=next(iter(several))) if len(several) == 1 else _OneOfSeveral(several, load)
        config = _read_config(folder)
        if MAPPING_NAME not in config.files:
            raise ArtifactError(
                f"{folder}: expected the config to list {MAPPING_NAME}, found {sorted(config.files)[:5]}."
            )
        if unknown := sorted(set(config.files) - {MAPPING_NAME}):
            warnings.warn(
                f"{folder}: ignoring files that this version does not know: {', '.join(unknown)[:200]}.", stacklevel=2
            )
        check_sums(folder, config.files)  # the mapping is small, so its sum is checked each time
        knowledge_base = _open_knowledge_base(
            folder,
            config,
            token=token,
            cache_dir=cache_dir,
            # A folder never touches the network, even if what it refers to is not there.
            local_files_only=local_files_only or Path(name_or_path).is_dir(),
            vectors=vectors,
        )
        if index_device == "cpu" and vectors:
            knowledge_base.to_memory()
        if not Path(name_or_path).is_dir() and config.knowledge_base is None:
            files = knowledge_base.config.files
            check_sums_once(folder / KNOWLEDGE_BASE_FOLDER, files if vectors else without_vectors(files))
        _check_file_size(folder, config)
        mapping = find_method(config.injection.method).network(config)
        mapping.load(folder / MAPPING_NAME)
        mapping.requires_grad_(False).eval()
        plugin = cls(config, mapping, knowledge_base)
        plugin.index_device = index_device
        plugin.results = read_results(folder)
        plugin._folder = folder if Path(name_or_path).is_dir() else None
        return plugin

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json``, the mapping, the knowledge base and a card into a folder.

        Everything is written beside and renamed, ``config.json`` last: a save that is interrupted leaves the old
        plugin whole. A README.md that a person wrote or edited is kept. Nothing touches the network.

        Raises:
            SaveError: The disk is full, the folder cannot be written, or it holds something else, such as a checkpoint.
        """
        self._write(Path(folder), reference=None)

    def _write(self, folder: Path, reference: KnowledgeBaseReference | None) -> None:
        with staged(folder, replaces=(f"{KNOWLEDGE_BASE_FOLDER}/{SHARD_PATTERN}", *RESULT_FILES)) as beside:
            if reference is None:
                (beside / KNOWLEDGE_BASE_FOLDER).mkdir()
                self.knowledge_base._write(beside / KNOWLEDGE_BASE_FOLDER, folder / KNOWLEDGE_BASE_FOLDER)
            self.mapping.save(beside / MAPPING_NAME)
            config = replace(self.config, files=describe_files(beside, [MAPPING_NAME]), knowledge_base=reference)
            write_results(beside, self.results)
            kb = self.knowledge_base.config
            if reference is None:  # with its files
                kb = read_config(beside / KNOWLEDGE_BASE_FOLDER, KnowledgeBaseConfig)
            values = {"config": config, "knowledge_base": kb, "names": self.knowledge_base.labels()}
            write_card(beside, folder, "plugin.md.j2", results=self.results, **values)
            (beside / CONFIG_NAME).write_text(to_json(config), encoding="utf-8")

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        token: str | bool | None = None,
        commit_message: str | None = None,
        subfolder: str | None = None,
    ) -> CommitInfo:
        """Push to a model repo, which is made if it is not there.

        A knowledge base that was opened from a dataset repo, or pushed to one, is not pushed again: the plugin refers
        to it there, at that very commit. Any other travels within the plugin.

        Args:
            repo_id: ``"user/name"``.
            private: Whether a repo that is made is private; ``None`` for the user's default.
            revision: Branch, made if it is not there; ``None`` for main.
            create_pr: Open a pull request instead.
            token: Access token, or ``None`` for the one that is logged in.
            commit_message: First line of the commit.
            subfolder: Push to a subfolder of the repo, beside the plugins for other base models.

        Returns:
            What huggingface_hub says of the commit. A push that changes nothing makes none.

        Raises:
            HubError: No access, no network, someone else pushed at the same time, or the Hub failed.
            ArtifactError: ``repo_id`` or ``subfolder`` is no name, or a subfolder of a repo that is a plugin itself.
        """
        prefix = "" if subfolder is None else f"{check_subfolder(subfolder)}/"
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            self._write(folder / prefix, reference=self.knowledge_base.origin)
            if self._folder is not None:
                for inner in ("", KNOWLEDGE_BASE_FOLDER):
                    keep_words(folder / prefix / inner, self._folder / inner)
            return push_folder(
                folder,
                repo_id,
                private=private,
                revision=revision,
                create_pr=create_pr,
                token=token,
                commit_message=commit_message,
                replaces=[f"{prefix}{pattern}" for pattern in (f"{KNOWLEDGE_BASE_FOLDER}/*", *RESULT_FILES)],
                complete=None if subfolder is None else partial(self._write_card_of_several, folder, repo_id, token),
            )

    def _write_card_of_several(
        self, folder: Path, repo_id: str, token: str | bool | None, revision: str | None
    ) -> None:
        there = resolve_folder(repo_id, revision=revision, token=token, only=CONFIG_PATTERNS)
        if (there / CONFIG_NAME).exists():
            raise ArtifactError(
                f"{repo_id} itself holds a plugin or a model: those in subfolders beside it would not be found. Push "
                "to a repo that holds nothing else, or without subfolder= to replace the plugin."
            )
        configs = dict(sorted({**read_subfolders(there), **read_subfolders(folder)}.items()))
        bases = sorted({config.base_model.name for config in configs.values() if config.base_model.name})
        license = self.knowledge_base.config.license
        card = render_card("plugins.md.j2", repo_id=repo_id, configs=configs, base_models=bases, license=license)
        (folder / "README.md").write_text(sealed(card), encoding="utf-8")

    # ---- using it ------------------------------------------------------------------------------------------------

    def attach(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        linker: Linker | None = None,
        form: Form | None = None,
        strict: bool = True,
        name: str | None = None,
    ) -> Attachment:
        """Attach to a model; no weight of it changes.

        Several plugins may be attached to one model. Each has virtual ids of its own; where their mentions overlap, the
        plugin that was attached first keeps its mention.

        Args:
            model: A transformers model whose word embeddings are of the space that the plugin was made for; also one
                that PEFT has wrapped, or that Accelerate has placed.
            tokenizer: Its fast tokenizer, or the one of another attachment; a new one comes back, this one stays as
                it is.
            linker: Finds mentions; ``None`` takes the dictionary linker over the knowledge base's aliases.
            form: ``"concat"`` puts ``[entity] /`` before a mention, ``"replace"`` puts ``[entity]`` in its place;
                ``None`` takes what the plugin was made with. Methods that put nothing into a text have no form.
            strict: Refuse a model of another embedding space, and another tokenizer; ``False`` warns instead.
            name: What to call the plugin on this model; ``None`` takes the name of its knowledge base.

        Returns:
            The attachment, which unpacks into model and tokenizer.

        Raises:
            IncompatibleModelError: The model's word embeddings are another space, or of another width, which no
                ``strict=False`` can help.
            TokenizerError: The tokenizer is slow, or not the one that the plugin was made with.
            LinkingError: The linker is none.
            AttachmentError: This plugin is attached to this model already, or another one of this name, or
                ``index_device="cuda"`` without a GPU, or a form for a method that has none.
        """
        injection = self.config.injection
        in_text = injection if isinstance(injection, TokenInjectionConfig) else TokenInjectionConfig(injection.method)
        if form is not None and in_text is not injection:
            raise AttachmentError(
                f"form: {injection.method!r} puts nothing into a text, so that it has no form; found {form!r:.80}. "
                "Leave out form=..."
            )
        form = form or in_text.form
        if form not in ("concat", "replace"):
            raise ValueError(f"form: expected 'concat' or 'replace', found {form!r}.")
        if linker is not None and not callable(linker):
            raise LinkingError(f"linker: expected a function from a list of texts to their mentions, found {linker!r}.")
        base = base_tokenizer(tokenizer)
        self.check_space(model, strict)
        check_tokenizer(self.config.base_model, model, base, strict)
        hooks = find_hooks(model)
        if any(hook.mapping is self.mapping for hook in hooks):
            raise AttachmentError(
                "this plugin is attached to this model already. Type: attachment.detach(), or plugin.detach(model)"
            )
        name = _choose_name(name, self.knowledge_base.config.name, [a.name for a in attachments(model)])
        embedding = input_embedding(model)
        device = execution_device(embedding)
        vectors = PlacedIndex(
            self.knowledge_base, choose_gpu(self.knowledge_base.index.nbytes, self.index_device, device)
        )
        free = max(embedding.num_embeddings, len(base), *(hook.ids.stop for hook in hooks))
        hook = find_method(injection.method).hook(self.config, vectors, self.mapping, model, free)
        source = KnowledgeSource(
            name,
            self.knowledge_base,
            linker or self.default_linker(),
            hook.ids,
            form,
            in_text.separator,
        )
        source.chose_linker = linker is None
        attachment = attach(model, tokenizer, hook, source)
        self._attachments.add(attachment)
        if device.type != "meta":
            self.mapping.to(device)
        return attachment

    def detach(self, model: nn.Module) -> None:
        """Detach from a model, where the attachment is not at hand; also from a copy of one that was attached to.

        Raises:
            AttachmentError: The plugin is not attached to this model.
        """
        mine = [attachment for attachment in attachments(model) if attachment.mapping is self.mapping]
        if not mine:
            raise AttachmentError(f"{self!r} is not attached to this {type(model).__name__}.")
        mine[0].detach()

    def swap(self, kb: KnowledgeBase) -> None:
        """Exchange the knowledge base as a whole, without training; models that it is attached to see it at once.

        Its vectors must come from the same encoder as those before. ``results`` are forgotten: they were measured with
        the knowledge base before. A linker that was given to :meth:`attach` stays.
        Single entries are changed by :meth:`KnowledgeBase.upsert <knowledge_plugin.KnowledgeBase.upsert>` and
        ``remove``.

        Raises:
            KnowledgeBaseError: No knowledge base.
            MappingError: Its vectors are of another width.
            AttachmentError: The plugin is attached, and its method puts tokens into texts: they would stand for other
                entities. Detach, swap, attach.
        """
        check_knowledge_base(kb)
        _check_width(self.config, kb)
        attached = [attachment for attachment in self._attachments if attachment.attached]
        if any(attachment.source.ids for attachment in attached):
            raise AttachmentError(
                "swap: the plugin is attached, and its tokens stand for entities of the knowledge base that it has. "
                "Type: attachment.detach(); plugin.swap(kb); plugin.attach(model, tokenizer)"
            )
        self.knowledge_base = kb
        self.results = []  # they were of the knowledge base before
        for attachment in attached:
            attachment.use(kb, self.default_linker())

    def prompt_embeds(self, text: str | list[str], **options: Any) -> torch.Tensor | list[torch.Tensor]:
        """Return the input embeddings of a prompt; see :meth:`Attachment.prompt_embeds`.

        Raises:
            AttachmentError: The plugin is attached to no model, or to several.
        """
        attached = [a for a in self._attachments if a.attached]
        if len(attached) != 1:
            raise AttachmentError(
                f"prompt_embeds: expected the plugin to be attached to one model, found {len(attached)}. Type: "
                "attachment = plugin.attach(model, tokenizer); attachment.prompt_embeds(text)"
            )
        return attached[0].prompt_embeds(text, **options)

    def word_embeddings(self, ids: list[str]) -> torch.Tensor:
        """Return the virtual rows of the word-embedding weight, float32 ``[n, width]``, of ``n`` entity ids."""
        vectors = self.knowledge_base.vectors(self.knowledge_base.rows(ids))
        with torch.no_grad():
            return self.mapping(vectors.to(self.mapping.device))

    def default_linker(self) -> Linker | None:
        """Return the linker that :meth:`attach` takes if none is given, ``None`` if mentions must be given."""
        if self.knowledge_base.config.linker == "external":
            return None
        return DictionaryLinker(self.knowledge_base, **asdict(self.config.linker))

    def check_space(self, model: nn.Module, strict: bool = True) -> None:
        """Compare a model's word embeddings with those that the plugin was made for.

        Raises:
            IncompatibleModelError: They are another space (with ``strict=False`` a warning), or of another width.
        """
        comparison = compare(self.config.base_model, model)
        if comparison.verdict != "different":
            return
        found = getattr(getattr(model, "config", None), "_name_or_path", None) or type(model).__name__
        message = (
            f"this plugin was made for the word embeddings of {self.config.base_model.name or 'an unnamed model'}; "
            f"{found} is another space: {comparison.reason}. Attach it to a checkpoint that was fine-tuned from that "
            "model, or make a plugin for this one: KnowledgePlugin.for_model(model, kb)"
        )
        if input_embedding(model).weight.shape[1] != self.config.base_model.embedding_dim:
            raise IncompatibleModelError(message)
        if strict:
            raise IncompatibleModelError(message + ". If you know better: attach(..., strict=False)")
        warnings.warn(message, stacklevel=3)


def _read_config(folder: Path) -> KnowledgePluginConfig:
    try:
        return read_config(folder, KnowledgePluginConfig)
    except ArtifactError as error:
        with suppress(KnowledgePluginError):
            read_config(folder, KnowledgeBaseConfig)
            error = ArtifactError(f"{error} Type: KnowledgeBase.from_pretrained({str(folder)!r})")
        raise error from None


def _check_width(config: KnowledgePluginConfig, knowledge_base: KnowledgeBase) -> None:
    if config.mapping.input_dim != knowledge_base.config.dim:
        raise MappingError(
            f"the mapping takes vectors of width {config.mapping.input_dim}, but those of the knowledge base "
            f"{knowledge_base.config.name!r} are {knowledge_base.config.dim} wide. Use the knowledge base that the "
            "mapping was trained with, or train a new one: KnowledgePlugin.for_model(model, kb)"
        )


def _warn_of_whole_keys(injection: LayerInjectionConfig, knowledge_base: KnowledgeBase) -> None:
    if injection.key_dim >= (dim := knowledge_base.config.dim):
        warnings.warn(
            f"key_dim is not given, so that all {dim} numbers of a vector are the key and the value of its entry: "
            "nothing tells what it is found by from what it says, and evaluate has no shuffled control. Type: "
            "vectors, key_dim = knowledge_plugin.building.key_value_vectors(entities, encode), and then "
            f"for_model(..., key_dim=key_dim), or --setting key_dim=NUMBER. If you mean it so: key_dim={dim}.",
            stacklevel=3,
        )


def _check_file_size(folder: Path, config: KnowledgePluginConfig) -> None:
    """Refuse a network that its file cannot hold, before memory is taken for it."""
    needed, found = 4 * config.injection.weights(config.mapping), config.files[MAPPING_NAME].size
    if needed > max(found, _SMALL_NETWORK):
        raise MappingError(
            f"{folder / MAPPING_NAME}: expected the {needed:,} bytes of weights that the config declares, found a file "
            f"of {found:,} bytes. Download or save it again."
        )


def _choose_name(wanted: str | None, default: str, taken: list[str]) -> str:
    if wanted is None:
        numbered = (f"{default}-{i}" for i in range(2, len(taken) + 2))
        return next(name for name in (default, *numbered) if name not in taken)
    if wanted in taken:
        raise AttachmentError(f"a plugin called {wanted!r} is attached to this model already. Give another name=...")
    return wanted


def _open_knowledge_base(folder: Path, config: KnowledgePluginConfig, vectors: bool, **options: Any) -> KnowledgeBase:
    reference = config.knowledge_base
    if reference is None:
        # Not by name: a folder that is missing must not become the name of somebody's repo.
        finish_save(folder / KNOWLEDGE_BASE_FOLDER)
        return KnowledgeBase._open(folder / KNOWLEDGE_BASE_FOLDER, vectors)
    return KnowledgeBase.from_pretrained(reference.repo_id, revision=reference.revision, vectors=vectors, **options)


_DECIDED = ("config", "mapping", "knowledge_base", "index_device", "results", "_attachments")


class _OneOfSeveral(KnowledgePlugin):
    """One of the plugins of a repo: the first model that it is attached to says which, once and for all."""

    def __init__(self, configs: Mapping[str, KnowledgePluginConfig], load: Callable[..., KnowledgePlugin]) -> None:
        self._configs, self._load = configs, load

    def __repr__(self) -> str:
        return f"KnowledgePlugin(one of {', '.join(self._configs)})" if self._undecided else super().__repr__()

    def __getattr__(self, name: str) -> Any:
        self._check_decided(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _check_decided(self, name: str) -> None:
        if self._undecided and name in _DECIDED:
            raise ArtifactError(
                f"several plugins lie here: {', '.join(list(self._configs)[:20])}. Say which one: "
                f"KnowledgePlugin.from_pretrained(..., subfolder={next(iter(self._configs))!r}); or attach it first, "
                "then the model chooses."
            )

    def __getstate__(self) -> dict:
        self._check_decided("mapping")  # what would load it later holds an access token
        return super().__getstate__()

    @property
    def _undecided(self) -> bool:
        return "_load" in self.__dict__

    def attach(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, **options: Any) -> Attachment:
        """Attach; see :meth:`KnowledgePlugin.attach`. The first model chooses the plugin."""
        if self._undecided:
            self.__dict__ = self._load(subfolder=choose_subfolder(self._configs, model)).__dict__
        return super().attach(model, tokenizer, **options)
