"""Frozen forward passes: feature extraction, inference engines, the cache."""
