"""Put bytes on a socket.

This package is the only caller of sendfile(2). Nothing here knows HTTP: it is
told what to send, in order, and either sends all of it or says why not.
"""
