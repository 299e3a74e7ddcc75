"""The admin listener: metrics, health, certificates, APIs, reload."""
