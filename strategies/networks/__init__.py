"""Pretrained networks: a table of backbones, their weights, and models that the user adds."""
