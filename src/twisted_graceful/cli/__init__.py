"""``twistd graceful``: the command line, and the service that it describes.

`plugin` is what twistd loads: it makes a service of the `Options` that `command_line` has parsed,
with `autoreload` for ``--reload`` and `check` for ``--check``. May import everything below; nothing
imports it.
"""
