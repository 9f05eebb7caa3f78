"""Finished runs and bundles, judged: on their own rows, on other data, side by side."""
