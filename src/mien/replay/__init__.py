"""The five published studies, replayed."""
