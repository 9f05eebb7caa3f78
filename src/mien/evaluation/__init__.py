"""Metrics with intervals, tests between results, and reports."""
