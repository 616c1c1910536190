"""HTTP/1.1 (RFC 9112): `channel.Channel` is a connection, and the requests on it one by one.

It imports the base of all connections, and `websocket`, which takes over after a 101.
"""
