from __future__ import annotations

import datetime
import json
from dataclasses import replace

import pytest

from knowledge_plugin.config import (
    BaseModelConfig,
    FileConfig,
    FingerprintConfig,
    KnowledgeBaseConfig,
    KnowledgePluginConfig,
    LinkerConfig,
    MappingConfig,
    read_config,
    to_json,
)
from knowledge_plugin.errors import ArtifactError, ConfigError, FormatVersionError
from knowledge_plugin.methods.map_tuning.config import MapTuningConfig

KB_CONFIG = KnowledgeBaseConfig(
    name="Städte 東京 ",
    rows=5,
    dim=8,
    aliases=7,
    dtype="int8",
    id_scheme="geo",
    license="cc-by-4.0",
    version="2026-01",
    linker="external",
    files={"entities.parquet": FileConfig(12, "0" * 64)},
)
PLUGIN_CONFIG = KnowledgePluginConfig(
    base_model=BaseModelConfig("user/base", 100, 16, FingerprintConfig([0, 7], "AAAA"), revision="abc"),
    mapping=MappingConfig("mlp", 8, 16, 32),
    injection=MapTuningConfig(form="replace", separator="|"),
    linker=LinkerConfig(case="sensitive", min_length=3, stop_words=["the"]),
    files={"mapping.safetensors": FileConfig(12, "a" * 64)},
)


def write(folder, config):
    (folder / "config.json").write_text(to_json(config), encoding="utf-8")


def edited(folder, config, **changes):
    data = json.loads(to_json(config)) | changes
    (folder / "config.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


@pytest.mark.parametrize("config", [KB_CONFIG, PLUGIN_CONFIG], ids=["knowledge base", "plugin"])
def test_round_trip(tmp_path, config):
    write(tmp_path, config)
    assert read_config(tmp_path, type(config)) == config


def test_the_file_names_its_library_and_formats(tmp_path):
    data = json.loads(to_json(PLUGIN_CONFIG))
    assert data["library_name"] == "knowledge-plugin"
    assert data["artifact"] == "knowledge-plugin"
    assert data["format_version"].split(".")[0] == "1"
    assert data["library_version"]


def test_optional_keys_may_be_absent(tmp_path):
    data = json.loads(to_json(KB_CONFIG))
    for key in ("dtype", "id_scheme", "license", "version", "linker", "files"):
        del data[key]
    (tmp_path / "config.json").write_text(json.dumps(data))
    assert read_config(tmp_path, KnowledgeBaseConfig) == KnowledgeBaseConfig(KB_CONFIG.name, 5, 8, 7)


def test_a_required_key_must_be_there(tmp_path):
    data = json.loads(to_json(KB_CONFIG))
    del data["rows"]
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="'rows' is missing"):
        read_config(tmp_path, KnowledgeBaseConfig)


@pytest.mark.parametrize("found", ["1.7", "1", "1.0.3", "01.0"])
def test_newer_minor_formats_are_read(tmp_path, found):
    assert read_config(edited(tmp_path, KB_CONFIG, format_version=found), KnowledgeBaseConfig) == KB_CONFIG


@pytest.mark.parametrize("found", ["2.0", "10.0", "2", "99.1"])
def test_newer_major_formats_are_refused(tmp_path, found):
    with pytest.raises(FormatVersionError, match="pip install --upgrade knowledge-plugin"):
        read_config(edited(tmp_path, KB_CONFIG, format_version=found), KnowledgeBaseConfig)


@pytest.mark.parametrize("found", ["0.9", "0", "00.3"])
def test_older_formats_are_refused_without_advice_to_upgrade(tmp_path, found):
    with pytest.raises(FormatVersionError, match=r"older than format 1\.0.*Make it anew") as caught:
        read_config(edited(tmp_path, KB_CONFIG, format_version=found), KnowledgeBaseConfig)
    assert "upgrade" not in str(caught.value)


def test_a_format_version_of_very_many_digits(tmp_path):
    with pytest.raises(FormatVersionError, match="upgrade"):
        read_config(edited(tmp_path, KB_CONFIG, format_version="9" * 10_000), KnowledgeBaseConfig)


@pytest.mark.parametrize("found", [None, 1, 1.0, "", "one", "v1", ["1"], "²", "-1.0"])
def test_a_format_version_is_a_text_of_numbers(tmp_path, found):
    with pytest.raises(ConfigError, match="format_version"):
        read_config(edited(tmp_path, KB_CONFIG, format_version=found), KnowledgeBaseConfig)


def test_unknown_keys_warn_and_are_left_out(tmp_path):
    edited(tmp_path, KB_CONFIG, from_the_future=1)
    with pytest.warns(UserWarning, match="from_the_future"):
        assert read_config(tmp_path, KnowledgeBaseConfig) == KB_CONFIG


@pytest.mark.parametrize("place", ["name", "license", "files"])
def test_half_a_surrogate_pair_in_a_file(tmp_path, place):
    value = {"\ud800": {"size": 1, "sha256": "0" * 64}} if place == "files" else "Paris \udc00"
    with pytest.raises(ConfigError, match=f"{place}: .*Unicode"):
        read_config(edited(tmp_path, KB_CONFIG, **{place: value}), KnowledgeBaseConfig)


def test_a_knowledge_base_is_no_plugin_and_the_reverse(tmp_path):
    write(tmp_path, KB_CONFIG)
    with pytest.raises(ArtifactError, match="holds a knowledge-base, not a knowledge-plugin"):
        read_config(tmp_path, KnowledgePluginConfig)
    write(tmp_path, PLUGIN_CONFIG)
    with pytest.raises(ArtifactError, match="holds a knowledge-plugin, not a knowledge-base"):
        read_config(tmp_path, KnowledgeBaseConfig)


def test_the_place_of_a_wrong_value_is_named(tmp_path):
    wrong = {**json.loads(to_json(PLUGIN_CONFIG))["mapping"], "input_dim": "8"}
    with pytest.raises(ConfigError, match=r"mapping: input_dim: expected int, found str"):
        read_config(edited(tmp_path, PLUGIN_CONFIG, mapping=wrong), KnowledgePluginConfig)


@pytest.mark.parametrize("changes", [{"rows": 0}, {"rows": 2**31}, {"dim": 0}, {"dim": 2**16 + 1}, {"aliases": -1}])
def test_sizes_are_bounded(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        replace(KB_CONFIG, **changes)


def test_the_mapping_must_lead_to_the_width_of_the_base_model():
    with pytest.raises(ConfigError, match="width 12"):
        replace(PLUGIN_CONFIG, mapping=MappingConfig("affine", 8, 12))


@pytest.mark.parametrize(("kind", "hidden"), [("affine", 32), ("mlp", None)])
def test_a_hidden_layer_belongs_to_an_mlp(kind, hidden):
    with pytest.raises(ConfigError, match="hidden_dim"):
        MappingConfig(kind, 8, 16, hidden)


@pytest.mark.parametrize("shape", [("affine", 2**16, 2**16, None), ("mlp", 2**16, 8, 2**16), ("mlp", 8, 2**16, 2**16)])
def test_a_mapping_of_gigabytes_is_refused_before_it_is_made(shape):
    with pytest.raises(ConfigError, match="weights"):
        MappingConfig(*shape)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_a_checksum_is_64_lower_case_hexadecimal_digits(sha256):
    with pytest.raises(ConfigError, match="sha256"):
        FileConfig(1, sha256)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, r"name: expected str, found int \(3\)"),
        ({"version": 2026}, r"version: expected str, found int \(2026\)"),
        ({"version": datetime.date(2026, 11, 1)}, r"version: expected str, found date"),
        ({"license": ["mit"]}, r"license: expected str, found list"),
        ({"linker": "spacy"}, r"linker: expected one of 'dictionary', 'external', found 'spacy'"),
        ({"dtype": "float64"}, "dtype: expected one of"),
        ({"rows": "5"}, r"rows: expected int, found str"),
        ({"rows": True}, r"rows: expected int, found bool"),
        ({"files": {"a": "b"}}, r"files: a: expected dict, found str"),
        ({"files": {3: FileConfig(1, "0" * 64)}}, r"files: a key: expected str, found int"),
        ({"files": {"\ud800": FileConfig(1, "0" * 64)}}, r"files: a key: expected Unicode"),
        ({"name": "\ud800"}, r"name: expected Unicode, found half a surrogate pair \('\\ud800'\)"),
    ],
)
def test_types_are_checked_when_a_config_is_made(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(KB_CONFIG, **changes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FileConfig("1", "0" * 64),
        lambda: FileConfig(1, None),
        lambda: FingerprintConfig((0, 7), "AAAA"),
        lambda: FingerprintConfig([0.5], "AAAA"),
        lambda: BaseModelConfig(3, 100, 16, FingerprintConfig([0], "AA")),
        lambda: BaseModelConfig("user/base", 100, 16, None),
        lambda: MappingConfig("transformer", 8, 16),
        lambda: MappingConfig("mlp", 8, 16, 2.5),
        lambda: MapTuningConfig(form="append"),
        lambda: MapTuningConfig(separator=None),
        lambda: LinkerConfig(case="mixed"),
        lambda: LinkerConfig(stop_words="the"),
        lambda: replace(PLUGIN_CONFIG, mapping=None),
    ],
)
def test_every_config_checks_its_types(make):
    with pytest.raises(ConfigError, match="expected"):
        make()
