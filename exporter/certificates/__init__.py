"""Certificates and keys from files, and the TLS contexts made of them."""
