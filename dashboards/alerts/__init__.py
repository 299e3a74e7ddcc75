"""The alerts: one source, written out for Prometheus and for Grafana."""
