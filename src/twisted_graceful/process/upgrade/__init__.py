"""Generations: how a process starts its successor, hands over to it, and leaves.

`generation_machine` is the table of it. May import `process.host` and `process.listeners`.
"""
