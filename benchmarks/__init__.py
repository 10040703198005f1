"""Ours beside the published way of doing the same work, as ratios measured in one run."""
