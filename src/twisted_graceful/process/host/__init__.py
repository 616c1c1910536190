"""What surrounds a process: signals, its end, logs, pid file, systemd, supervisors.

The lowest part of `process`: it imports no other.
"""
