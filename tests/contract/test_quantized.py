"""A quantised base: its word embeddings stay as they are, and so does what the plugin puts there."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from tests.contract.architectures import DECODER
from tests.contract.common import TEXTS, enlarge, inputs, make_plugin, way

bitsandbytes = pytest.importorskip("bitsandbytes")


@way("quantised bases", "bitsandbytes, 4 and 8 bits, on a CPU")
@pytest.mark.parametrize("bits", [4, 8])
def test_bitsandbytes(bits, wordpiece, tmp_path):
    torch.manual_seed(0)
    size = {"hidden_size": 64, "intermediate_size": 128}  # 4-bit weights come in blocks
    bare = LlamaForCausalLM(LlamaConfig(**DECODER | size)).eval()
    bare.save_pretrained(tmp_path)
    config = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config, device_map="cpu")
    assert type(model.model.layers[0].self_attn.q_proj).__module__.startswith("bitsandbytes")
    plugin = make_plugin(bare)
    enlarged = enlarge(model, plugin)
    attachment = plugin.attach(model, wordpiece)
    batch = inputs(model, attachment.tokenizer, TEXTS)
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, enlarged(**batch).logits)
        attachment.detach()
        plain = inputs(model, wordpiece, TEXTS)
        assert torch.equal(model(**plain).logits, enlarged(**plain).logits)
