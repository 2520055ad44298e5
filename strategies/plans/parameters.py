"""The number of weights of each stage, under the names by which `advisor` imports it; see `strategies.plans.sizes`."""

from strategies.plans.sizes import count_job, count_parameters

__all__ = ["count_job", "count_parameters"]
