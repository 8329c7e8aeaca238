"""What any server of ours runs in: processes, loops, sockets, signals, limits.

It knows a connection only as a `Guest`, and nothing of what is spoken on it.
"""
