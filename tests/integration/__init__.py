"""Real processes, sockets and signals."""
