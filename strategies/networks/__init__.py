"""Pretrained networks: backbones as rows, their weights, a user's own model."""
