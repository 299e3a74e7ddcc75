"""The domain: certificates, when they expire, and what is said about it.

Pure: the standard library and `cryptography` only, no I/O, no clock and no task of its own.
"""
