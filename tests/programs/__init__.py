"""Our server with the programs of others: proxies, clients, attackers, supervisors, a browser."""
