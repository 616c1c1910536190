"""``gracefulctl``, which controls a server from another process.

It has to start fast. So it never imports Twisted, knows only the wire formats of the server, and
imports other slow modules only where they are needed.
"""
