"""Sockets: accepting, reading and writing them, TLS, UNIX sockets, PROXY headers."""
