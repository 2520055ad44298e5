"""Plans: a recipe made concrete for one network and one dataset, with its freeze map and its script."""
