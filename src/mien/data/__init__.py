"""Datasets as sample tables: sources, splits, preparation, balancing, audit, synthetic faces."""
