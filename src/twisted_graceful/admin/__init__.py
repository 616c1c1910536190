"""What operators and their tools look at: health, readiness, metrics, status and actions."""
