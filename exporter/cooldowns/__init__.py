"""Stores of event cooldowns that are kept elsewhere, for replicas: one file for each."""
