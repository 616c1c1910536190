"""Processes: their listeners, upgrades and workers. Nothing here knows HTTP."""
