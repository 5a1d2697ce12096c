"""Two-sample tests with valid p-values; the public names are in `cfmetrics`."""
