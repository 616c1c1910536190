"""What is written and counted of requests: access log, metrics, drain report."""
