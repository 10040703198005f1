"""Between folders and the Hub. Knows files, checksums, cards and commits; knows nothing of plugins."""
