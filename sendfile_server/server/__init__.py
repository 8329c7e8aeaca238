"""The composition: connections that are served files, and what they share.

Only this package sees all the stages. What can block goes to the pool of the
listener that the client came by.
"""
