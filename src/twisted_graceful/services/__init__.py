"""What serves: a server, servers together, and the process that they make up.

Here HTTP and processes meet. May import everything but `admin`, `cli`, `ctl` and `run`.
"""
