"""What to answer: a pure function of request, representation and time.

It is handed *now* and touches no clock, disk or socket. A `Plan` says all: the
status, the fields, and a body in chunks that are bytes or spans of the file.
"""
