"""Images: datasets and their sources, pixels, splits, batches."""
