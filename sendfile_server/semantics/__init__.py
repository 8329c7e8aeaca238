"""The words that the stages share: RFC 9110 as frozen values and pure functions.

One concept a file. Nothing here touches a clock, a disk or a socket, and
nothing here imports another package of this project but `errors`.
"""
