"""What is done with a finished run: evaluation, prediction, export, heat maps."""
