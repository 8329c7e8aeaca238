"""The composition: connections, listeners, pools, workers and their supervisor.

Only this package sees all the stages. Each worker process runs one event loop;
what can block goes to the pool of the listener that the client came by.
"""
