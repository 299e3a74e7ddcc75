"""The page that a person reads: every certificate, each of them, each API."""
