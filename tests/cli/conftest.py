from __future__ import annotations

import pytest

from knowledge_plugin import KnowledgePlugin
from tests import tiny


@pytest.fixture(scope="session")
def kb_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kb")
    tiny.knowledge_base().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    KnowledgePlugin.for_model(tiny.classifier(), tiny.knowledge_base(), mapping="affine").save_pretrained(folder)
    return str(folder)
