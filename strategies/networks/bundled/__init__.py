"""A backbone of our own, for where no weights can be had: its weights, how they were trained, what they reach."""
