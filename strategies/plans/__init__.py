"""A recipe made concrete for a network and a dataset: plan, freeze map, script."""
