"""Loads the application that a user has named, and makes a web resource of it.

`loading` imports the application that a name names, `conversion` makes a resource of it, `wsgi` is
the resource for WSGI applications, and `welcome` the one that is served when no application is
named. May import `errors`, `coroutines` and `twisted_internals`; knows neither connections nor
processes.
"""
