"""Stores of cooldowns against real servers."""
