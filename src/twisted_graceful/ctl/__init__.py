"""``gracefulctl``, which steers a server from another process.

It imports nothing of Twisted, and what is slow to import only where it is needed: it has to start
fast. So its modules know of the server only what goes over the wire.
"""
