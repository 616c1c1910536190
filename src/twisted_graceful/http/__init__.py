"""HTTP for one site: connections from the first byte to the last, their requests and their drain.

`interfaces` is the first file to read: what each part asks of the parts around it. `site.Site` is
what a server holds; its `registry.ConnectionRegistry` has the open connections. Nothing in here
knows of processes: connections leave and arrive by `twisted_graceful.handover_interface`.
"""
