"""mien: a workbench for facial expression recognition. Importing it loads no training library."""

__version__ = "0.1.0"
