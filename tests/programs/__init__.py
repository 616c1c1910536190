"""Our server with the programs of others: proxies, clients, attackers, supervisors, a browser.

Also what takes long: load through upgrades, and leaks over many of them.
"""
