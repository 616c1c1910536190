"""Servers, groups of servers, and the process that serves them, as Twisted services.

Here HTTP and processes meet. May import everything but `admin`, `cli`, `ctl` and `run`.
"""
