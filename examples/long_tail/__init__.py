"""Which mentions deserve knowledge, and vectors for entities that no embedding has seen, on an invented world."""
