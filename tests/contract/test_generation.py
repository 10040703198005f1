"""Every way of generating gives the tokens that the truly enlarged model gives."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TextIteratorStreamer, TextStreamer

from knowledge_plugin.errors import GenerationError
from tests import tiny
from tests.contract.architectures import DECODER, GENERATORS, VOCAB, build
from tests.contract.common import PLAIN, enlarge, make_plugin, way

SOME = ("gpt2", "llama", "gemma3", "t5", "bart-scaled")
PROMPTS = ["the museum in Paris", "she moved from Berlin to New York and the old"]


class Case:
    """A model with a plugin, the enlarged model, and prompts for both."""

    def __init__(self, name: str, tokenizer, prompts: list[str] = PROMPTS) -> None:
        self.model = build(name)
        self.plugin = make_plugin(self.model)
        self.enlarged = enlarge(self.model, self.plugin)
        self.attachment = self.plugin.attach(self.model, tokenizer)
        self.tokenizer = self.attachment.tokenizer
        self.tokenizer.padding_side = "right" if self.model.config.is_encoder_decoder else "left"
        self.batch = self.tokenizer(prompts, padding=True, return_tensors="pt")
        self.batch.pop("token_type_ids", None)
        assert bool((self.batch["input_ids"] >= VOCAB).any())

    def both(self, **options) -> tuple[torch.Tensor, torch.Tensor]:
        results = []
        for model in (self.model, self.enlarged):
            torch.manual_seed(7)
            results.append(model.generate(**self.batch, **{"max_new_tokens": 8, "do_sample": False} | options))
        return results[0], results[1]


@pytest.fixture(params=SOME)
def case(request, wordpiece):
    return Case(request.param, wordpiece)


@way("generate", "greedy")
@pytest.mark.parametrize("name", GENERATORS)
def test_greedy(name, wordpiece):
    found, expected = Case(name, wordpiece, ["the museum in Paris"]).both()
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"do_sample": True, "top_k": 20, "temperature": 0.7}, marks=way("generate", "sampling")),
        pytest.param({"num_beams": 3}, marks=way("generate", "beam search")),
        pytest.param({"num_beams": 3, "num_return_sequences": 2}, marks=way("generate", "several beams returned")),
        pytest.param({"use_cache": False}, marks=way("generate", "without a cache")),
        pytest.param({"repetition_penalty": 1.3}, marks=way("generate", "repetition penalty")),
        pytest.param({"no_repeat_ngram_size": 2}, marks=way("generate", "no_repeat_ngram_size")),
        pytest.param({"bad_words_ids": [[7], [9, 10]]}, marks=way("generate", "bad words")),
    ],
)
def test_options(case, options):
    found, expected = case.both(**options)
    assert torch.equal(found, expected)


@way("generate", "static cache")
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_static_cache(name, wordpiece):
    found, expected = Case(name, wordpiece).both(cache_implementation="static", disable_compile=True)
    assert torch.equal(found, expected)


@way("generate", "left padding")
def test_left_padding_changes_nothing(wordpiece):
    together = Case("llama", wordpiece)
    alone = Case("llama", wordpiece, PROMPTS[:1])
    assert int(together.batch["attention_mask"][0, 0]) == 0
    new = [case.both()[0][0, case.batch["input_ids"].shape[1] :] for case in (together, alone)]
    assert torch.equal(*new)


@way("generate", "streaming")
def test_streamed_text_is_the_text(wordpiece):
    case = Case("llama", wordpiece, PROMPTS[:1])
    streamer = TextIteratorStreamer(case.tokenizer, skip_prompt=True)
    found = case.model.generate(**case.batch, max_new_tokens=8, do_sample=False, streamer=streamer)
    assert "".join(streamer) == case.tokenizer.decode(found[0, case.batch["input_ids"].shape[1] :])


def test_a_streamed_prompt_holds_no_entity(wordpiece, capsys):
    case = Case("llama", wordpiece, PROMPTS[:1])
    case.model.generate(**case.batch, max_new_tokens=2, do_sample=False, streamer=TextStreamer(case.tokenizer))
    assert "/" not in capsys.readouterr().out.split("paris")[0]


@way("generate", "text that ends it (stop_strings)")
def test_stop_strings():
    case = Case("llama", tiny.tokenizer("byte_bpe"), PROMPTS[:1])
    found, expected = case.both(stop_strings=["a", "e"], tokenizer=case.tokenizer)
    assert torch.equal(found, expected)


@way("generate", "assistant model with a plugin of its own")
def test_assistant(wordpiece):
    case = Case("llama", wordpiece, PROMPTS[:1])
    assistant = build("llama")
    steps = []
    with make_plugin(assistant).attach(assistant, wordpiece):
        case.model.register_forward_hook(lambda *_: steps.append(1))
        assisted = case.model.generate(**case.batch, max_new_tokens=8, do_sample=False, assistant_model=assistant)
    # The assistant is the same model with the same plugin, so it guesses right, if it reads the entities.
    assert len(steps) < 8
    assert torch.equal(assisted, case.both()[0])


@way("generate", "assistant model with a tokenizer of its own, which is given text and needs no plugin")
def test_an_assistant_that_reads_text(wordpiece):
    case = Case("llama", wordpiece, PROMPTS[:1])
    assisted = case.model.generate(
        **case.batch,
        max_new_tokens=4,
        do_sample=False,
        assistant_model=LlamaForCausalLM(LlamaConfig(**DECODER | {"vocab_size": 300})).eval(),
        tokenizer=case.tokenizer,
        assistant_tokenizer=tiny.tokenizer("unigram"),
    )
    assert torch.equal(assisted, case.both(max_new_tokens=4)[0])


@way("generate", "assistant model without a plugin", limit="it has no row for a virtual id: an error says what to do")
def test_an_assistant_without_the_plugin_is_refused(wordpiece):
    case = Case("llama", wordpiece, PROMPTS[:1])
    with pytest.raises(GenerationError, match="assistant"):
        case.model.generate(**case.batch, max_new_tokens=2, assistant_model=build("llama"))


IDS_ARE_NO_WORDS = "it takes ids of the prompt for words of the output: an error, if the prompt holds an entity"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(
            "t5",
            {"encoder_repetition_penalty": 1.2},
            marks=way("generate", "encoder_repetition_penalty", limit=IDS_ARE_NO_WORDS),
        ),
        pytest.param(
            "llama",
            {"encoder_no_repeat_ngram_size": 2},
            marks=way("generate", "encoder_no_repeat_ngram_size, decoder-only", limit=IDS_ARE_NO_WORDS),
        ),
        pytest.param(
            "llama",
            {"prompt_lookup_num_tokens": 2},
            marks=way("generate", "prompt_lookup_num_tokens", limit=IDS_ARE_NO_WORDS),
        ),
    ],
)
def test_options_that_take_ids_for_words(name, options, wordpiece):
    case = Case(name, wordpiece, PROMPTS[:1])
    with pytest.raises(GenerationError, match=next(iter(options))):
        case.model.generate(**case.batch, max_new_tokens=2, **options)
    case.model.generation_config.update(**options)
    with pytest.raises(GenerationError, match=next(iter(options))):
        case.model.generate(**case.batch, max_new_tokens=2)
    plain = wordpiece(PLAIN[:1], return_tensors="pt")
    plain.pop("token_type_ids", None)
    case.model.generate(**plain, max_new_tokens=2)  # nothing to refuse without an entity
