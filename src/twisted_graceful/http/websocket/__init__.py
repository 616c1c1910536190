"""WebSockets, whatever library speaks on them.

Twisted's own `twisted.web.websocket` has its connection given by a hook; older libraries, as
autobahn, take the transport of the request away. To both we give a transport of ours, and
stay between it and the client. The sections in here are those of RFC 6455.
"""
