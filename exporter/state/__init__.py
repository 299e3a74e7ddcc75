"""What outlasts the process: events that are not delivered yet, and cooldowns."""
