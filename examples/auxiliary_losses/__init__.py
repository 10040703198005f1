"""Losses beside the task in map-tuning, and whether they pay."""
