"""Training: carries a plan out in Keras and measures the result."""
