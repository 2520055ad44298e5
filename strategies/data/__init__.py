"""Images: datasets and the sources they are read from, pixels, splits and batches."""
