"""Measurements of a dataset: its profile, its similarity to ImageNet, and how well each stage separates its classes."""
