"""The suites of other servers, run against ours.

Nothing of them is in this repository. ``TWISTED_GRACEFUL_CORPORA`` names a directory that holds the
unpacked source distributions; `.ci/run` fetches them. Where it is not set these tests are skipped.
"""
