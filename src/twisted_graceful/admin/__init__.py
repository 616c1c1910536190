"""The admin endpoints: health, readiness, metrics, status and actions."""
