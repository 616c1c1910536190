"""What surrounds a process: signals, exit, logs, pid file, systemd, supervisors.

The lowest part of `process`: it does not import the others.
"""
