"""How knowledge enters a model: mapping network, virtual tokens, embedding hook, tokenizer, fingerprint."""
