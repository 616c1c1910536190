"""A master and its workers: the pool, what the master knows of a worker, and the worker itself.

May import every other part of `process`; none imports it.
"""
