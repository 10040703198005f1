"""Several domains and one frozen checkpoint: a plugin for each, and a small adapter that follows a stream of them."""
