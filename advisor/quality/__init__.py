"""What may be wrong with images, labels and splits: checks as rows, one scan of all images, and what it shows."""
