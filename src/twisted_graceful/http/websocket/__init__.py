"""WebSockets (RFC 6455), whatever library speaks on them.

`twisted.web.websocket` is given its connection by a hook; older libraries, such as autobahn, take
the transport of the request. Both get a transport of ours, so that `connection.WebSocket` stays
between them and the client. The sections named in here are those of RFC 6455.
"""
