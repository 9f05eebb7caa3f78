"""Adapters from the layouts that datasets are published in to the sample table: one file a dataset."""
