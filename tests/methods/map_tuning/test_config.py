from __future__ import annotations

import json

import pytest

from knowledge_plugin import KnowledgePluginConfig
from knowledge_plugin.config import read_config, to_json
from knowledge_plugin.errors import ConfigError
from knowledge_plugin.methods.map_tuning.config import MapTuningConfig
from tests.test_config import PLUGIN_CONFIG


def test_the_section_is_read_by_the_class_of_its_method(tmp_path):
    (tmp_path / "config.json").write_text(to_json(PLUGIN_CONFIG), encoding="utf-8")
    assert read_config(tmp_path, KnowledgePluginConfig).injection == MapTuningConfig(form="replace", separator="|")


def test_an_unknown_method_is_refused(tmp_path):
    data = json.loads(to_json(PLUGIN_CONFIG)) | {"injection": {"method": "mind-reading"}}
    (tmp_path / "config.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"injection: method: expected one of .*'map-tuning'"):
        read_config(tmp_path, KnowledgePluginConfig)


def test_a_long_separator_is_refused():
    with pytest.raises(ConfigError, match="separator"):
        MapTuningConfig(separator="/" * 65)
