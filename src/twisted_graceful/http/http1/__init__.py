"""HTTP/1.1: one request after the other on a connection (RFC 9112)."""
