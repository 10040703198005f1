"""Knowledge from a generative model, in an invented world whose rule is known."""
