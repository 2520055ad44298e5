"""Feature extraction with frozen networks: forward passes, inference engines and the cache of features."""
