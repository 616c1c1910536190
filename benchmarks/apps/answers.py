"""What every server answers, so that all do the same work."""

HELLO = b"Hello, world!\n"

LARGE = b"%01023d\n" % 0 * 1024
"""1 MiB."""

GET = {"/": HELLO, "/large": LARGE}
"""The answer to a GET, by path. A POST is answered with the length of its body, as text."""
