"""What makes the boards in `dashboards/`: plain Python, nothing to install. `scripts/dashboards` runs it."""
