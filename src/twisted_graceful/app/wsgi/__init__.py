"""WSGI applications (PEP 3333), which run in threads.

A server has one `threads.Threads`, whose `resource` makes a resource of an application. For each
request `resource` makes an environ and a `call.Call`, which carries the response from the thread to
the reactor. May import `twisted_internals`.
"""
