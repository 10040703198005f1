"""What mapping networks learn from: batches, and losses that are ours. Each method puts its own together."""
