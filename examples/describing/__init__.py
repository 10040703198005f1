"""A decoder that reads nothing but the state of a mention, on an invented world."""
