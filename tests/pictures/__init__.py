"""The pictures of the documentation, made anew by `scripts/screenshots`."""
