"""The tests; `pytest` and `trial tests` run them."""
