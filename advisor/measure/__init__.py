"""What is measured on a dataset: its profile, its similarity to ImageNet, and how separable its classes are."""
