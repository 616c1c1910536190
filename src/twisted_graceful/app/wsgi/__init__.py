"""WSGI (PEP 3333): applications that run in threads."""
