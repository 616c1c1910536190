"""The twistd plugin: its options and service, ``--check``, ``--reload``.

Imports everything below it; nothing imports it.
"""
