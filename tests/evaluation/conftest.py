from __future__ import annotations

import pytest

from tests.evaluation import bag


@pytest.fixture
def towns():
    return bag.knowledge()


@pytest.fixture
def classifier(wordpiece):
    return bag.bag(wordpiece)


@pytest.fixture
def knowing(classifier, towns):
    """A plugin that knows every answer."""
    return bag.plugin_for(classifier, towns)
