"""Listening sockets: bound, inherited from a predecessor, or passed by a service manager.

May import `process.host`.
"""
