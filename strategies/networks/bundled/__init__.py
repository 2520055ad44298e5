"""The bundled backbone, for machines without ImageNet weights: its weights and the script that trained them."""
