"""Records of requests and clients: access log, metrics, client log, drain report.

It may import `head`, and nothing else of `http`.
"""
