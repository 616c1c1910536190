"""Sockets: ports that accept, and the transports of connections, over TCP, UNIX sockets and TLS.

The face is `poller.transport_for`, the ports, and the functions that choose a transport. Nothing in
here knows what is spoken on a connection, so it imports nothing of the rest of `http`.
"""
