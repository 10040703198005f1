from __future__ import annotations

import pytest
import torch

from knowledge_plugin.objectives.decoder import MOST, StateDecoder

WORDS = torch.randn(30, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return StateDecoder(8, 12, 30, layers=2).eval()


def test_what_it_writes_depends_on_the_state_and_on_what_stands_before(decoder):
    states, written = torch.randn(3, 2, 8), torch.randint(30, (3, 5))
    logits = decoder(states, written, WORDS)
    assert logits.shape == (3, 5, 30)
    later = written.clone()
    later[:, 3] = (later[:, 3] + 1) % 30
    changed = (decoder(states, later, WORDS) != logits).any(-1).any(0).tolist()
    assert changed == [False, False, False, False, True]  # what stands at a place is not read there
    for at in (0, 1):  # of the first token and of the last
        other = states.clone()
        other[:, at] += 1
        assert bool((decoder(other, written, WORDS) != logits).any(-1).all())


def test_words_are_told_apart_whatever_their_scale(decoder):
    states, written = torch.randn(2, 2, 8), torch.randint(30, (2, 4))
    torch.testing.assert_close(
        decoder(states, written, WORDS), decoder(states, written, 3 * WORDS + 1), rtol=1e-3, atol=1e-3
    )


def test_it_writes_what_it_has_learned_up_to_the_end(decoder):
    states, texts, end = torch.randn(2, 2, 8), torch.tensor([[7, 3, 4, 1], [7, 5, 6, 1]]), 1
    labels = texts.clone()
    labels[:, 0] = -100  # the prompt
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(decoder(states, texts, WORDS).transpose(1, 2), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert decoder.write(states, [[7], [7]], WORDS, end) == [[3, 4], [5, 6]]
    assert decoder.write(states, [[7], [7]], WORDS, None, most=3) == [[3, 4, 1], [5, 6, 1]]
    assert len(decoder.write(states[:1], [[7]], WORDS, None, most=10**6)[0]) == MOST - 1
    assert len(decoder.write(states[:1], [[7]], WORDS, None)[0]) == MOST - 1  # no text that it learned is cut off


def test_writing_leaves_it_in_its_mode(decoder):
    decoder.train()
    texts = [decoder.write(torch.ones(1, 2, 8), [[7]], WORDS, None, most=9) for _ in range(2)]
    assert texts[0] == texts[1]
    assert decoder.training
    assert decoder.layers.training


def test_frozen_words_get_no_gradient(decoder):
    words = WORDS.clone().requires_grad_(True)
    decoder(torch.randn(1, 2, 8), torch.zeros(1, 3, dtype=torch.long), words).sum().backward()
    assert words.grad is None


def test_it_is_saved_and_read_again(decoder, tmp_path):
    decoder.save(tmp_path / "it.safetensors")
    other = StateDecoder(8, 12, 30, layers=2).eval()
    other.load(tmp_path / "it.safetensors")
    states, written = torch.randn(1, 2, 8), torch.randint(30, (1, 4))
    assert torch.equal(decoder(states, written, WORDS), other(states, written, WORDS))
