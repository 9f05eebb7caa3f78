"""The recogniser over HTTP: an API, and a page for a browser."""
