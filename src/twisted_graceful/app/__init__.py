"""From what a user names to a resource: loading, WSGI, the welcome page.

May import `errors` and `coroutines`, and knows neither HTTP connections nor processes.
"""
