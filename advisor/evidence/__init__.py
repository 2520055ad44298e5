"""Where the fitted numbers come from: what measures, fits and scores them."""
