"""Processes, the sockets they inherit and how one replaces another. Nothing here knows of HTTP."""
