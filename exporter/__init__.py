"""certgauge: a reverse proxy that knows every certificate on every mTLS hop, and says when one expires."""

__version__ = "0.1.0"
