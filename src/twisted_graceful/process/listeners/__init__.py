"""Listeners: bound here, inherited from a predecessor, or passed by a service manager.

`Listener` is the value that all other code passes around: the sockets of one configured name, of
whatever protocol. A process has one `ListenerRegistry`, which says where each listener comes from.
The servers open theirs there; `ReactorListeners` opens those of the rest of the program.

May import `process.host`.
"""
