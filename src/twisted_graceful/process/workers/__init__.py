"""Workers: the pool of a master, its handle of each worker, and the lifecycle of a worker.

May import every other part of `process`; none imports it.
"""
