"""Boards for Grafana, and what makes them."""
