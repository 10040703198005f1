from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from knowledge_plugin.errors import IncompatibleModelError
from knowledge_plugin.injection.embeddings import as_looked_up, embedding_modules, embedding_rows, input_embedding
from tests.contract.architectures import ARCHITECTURES, build


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_as_looked_up_is_what_the_module_itself_gives(name):
    model = build(name)
    embedding = next(m for m in embedding_modules(model) if type(m) is not nn.Embedding or name not in ("bart-scaled",))
    ids = torch.arange(5, 12)
    with torch.no_grad():
        assert torch.equal(as_looked_up(embedding, embedding.weight[ids]), embedding(ids))


def test_as_looked_up_gives_every_row_a_gradient_and_leaves_the_module_alone():
    embedding = embedding_modules(build("gemma3"))[0]
    before = {name: id(value) for name, value in vars(embedding).items()}
    rows = torch.randn(6, 16, requires_grad=True)
    as_looked_up(embedding, rows).sum().backward()
    assert rows.grad is not None
    assert bool((rows.grad != 0).all())
    assert {name: id(value) for name, value in vars(embedding).items()} == before


def test_all_modules_that_share_the_weight_are_found():
    assert len(embedding_modules(build("t5"))) == 3
    assert len(embedding_modules(build("bart-scaled"))) == 3
    assert len(embedding_modules(build("llama"))) == 1


def test_rows_come_as_float32_on_the_cpu():
    model = build("llama").to(torch.bfloat16)
    rows = embedding_rows(input_embedding(model), torch.tensor([3, 1]))
    assert rows.dtype == torch.float32
    assert torch.equal(rows, model.get_input_embeddings().weight[[3, 1]].float())


@pytest.mark.parametrize("model", ["user/model", Path("user/model")])
def test_of_a_name_it_says_how_to_open_the_model(model):
    with pytest.raises(IncompatibleModelError, match=r"found 'user/model'\. Type: AutoModel\.from_pretrained\('user"):
        input_embedding(model)


@pytest.mark.parametrize("model", [nn.Linear(2, 2), "no model", None])
def test_what_has_no_word_embeddings_is_refused(model):
    with pytest.raises(IncompatibleModelError, match="word embeddings"):
        input_embedding(model)
