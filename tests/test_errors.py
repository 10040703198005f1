from __future__ import annotations

import inspect

import pytest

from knowledge_plugin import errors
from knowledge_plugin.errors import KnowledgePluginError, MissingDependencyError, UnknownEntityError

ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", ALL)
def test_one_except_clause_catches_every_error(cls):
    assert issubclass(cls, KnowledgePluginError)
    assert cls.__doc__


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.SaveError, OSError),
        (errors.UnknownEntityError, KeyError),
        (errors.ReaderError, ValueError),
        (errors.TokenizerError, TypeError),
        (errors.AttachmentError, RuntimeError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_who_expects_the_builtin_error_catches_ours(cls, builtin):
    assert issubclass(cls, builtin)


def test_a_missing_extra_says_what_to_type():
    assert "pip install 'knowledge-plugin[kge]'" in str(MissingDependencyError("kge", "pykeen"))


def test_an_unknown_entity_is_shown_as_a_sentence():
    assert str(UnknownEntityError("no entity 'x:1'")) == "no entity 'x:1'"
