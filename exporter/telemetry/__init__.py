"""OpenTelemetry: gauges over the inventory, scraped as text and pushed as OTLP; log records; spans."""
