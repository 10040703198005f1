from __future__ import annotations

import inspect

import pytest
import torch

from knowledge_plugin.errors import GenerationError
from knowledge_plugin.injection.generation import GenerationGuard, guard_generation, unguard_generation
from tests.contract.architectures import build
from tests.contract.common import make_plugin

PROMPT = torch.tensor([[5, 400, 7]])


@pytest.fixture
def llama():
    return build("llama")


def test_the_guard_stands_before_generate_while_a_plugin_is_attached(llama, wordpiece):
    with make_plugin(llama).attach(llama, wordpiece), make_plugin(llama, seed=2).attach(llama, wordpiece):
        assert isinstance(llama.generate, GenerationGuard)
        assert llama.generate.__doc__ == type(llama).generate.__doc__
        assert inspect.signature(llama.generate) == inspect.signature(build("llama").generate)
    assert "generate" not in vars(llama)


def test_a_model_that_does_not_generate_gets_none(model):
    guard_generation(model)
    assert "generate" not in vars(model) or not isinstance(vars(model)["generate"], GenerationGuard)
    unguard_generation(model)


def test_a_generate_of_the_users_own_is_left_alone(llama, wordpiece):
    def own(*args, **kwargs):
        return "own"

    llama.generate = own
    with make_plugin(llama).attach(llama, wordpiece):
        assert llama.generate() == "own"
    assert llama.generate is own


@pytest.mark.parametrize("given", ["positional", "inputs", "input_ids"])
def test_the_prompt_is_found_however_it_is_given(given, llama, wordpiece):
    args, kwargs = ((PROMPT,), {}) if given == "positional" else ((), {given: PROMPT})
    with make_plugin(llama).attach(llama, wordpiece), pytest.raises(GenerationError, match="prompt_lookup"):
        llama.generate(*args, **kwargs, prompt_lookup_num_tokens=2)


def test_options_that_are_switched_off_pass(llama, wordpiece):
    with make_plugin(llama).attach(llama, wordpiece):
        llama.generate(PROMPT, max_new_tokens=1, encoder_repetition_penalty=1.0, prompt_lookup_num_tokens=None)


def test_an_assistant_whose_entities_are_other_ids_is_refused(llama, wordpiece):
    assistant = build("llama")
    with (
        make_plugin(llama).attach(llama, wordpiece),
        make_plugin(assistant, seed=2).attach(assistant, wordpiece),
        make_plugin(assistant).attach(assistant, wordpiece),
    ):
        llama.generate(PROMPT, max_new_tokens=2, assistant_model=assistant)
    with (
        make_plugin(llama).attach(llama, wordpiece),
        make_plugin(llama, seed=2).attach(llama, wordpiece),
        make_plugin(assistant).attach(assistant, wordpiece),
        pytest.raises(GenerationError, match="same order"),
    ):
        llama.generate(PROMPT, max_new_tokens=2, assistant_model=assistant)
