from __future__ import annotations

from benchmarks import methods


def test_a_case_of_each_method_is_measured(monkeypatch):
    monkeypatch.setattr(methods, "BATCH", 2)
    monkeypatch.setattr(methods, "LENGTH", 8)
    monkeypatch.setattr(methods, "ENCODER_CASES", methods.ENCODER_CASES[:1])
    monkeypatch.setattr(methods, "DECODER_CASES", methods.DECODER_CASES[1:3])
    found = list(methods.rows(rounds=1, share=0.01))
    assert [line["work"].split(",")[0] for line in found] == ["kformer", "memory", "kb-attention"]
    assert all(line["ratio"] > 0 for line in found)
