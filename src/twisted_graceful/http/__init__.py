"""The HTTP connection. Nothing in here knows of processes."""
