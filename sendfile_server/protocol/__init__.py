"""Bytes to validated requests (RFC 9112).

This package is the only importer of h11. h11 is necessary, not sufficient: it
lets folds, bare LF, Transfer-Encoding beside Content-Length and other versions
pass, and judges a long head by the pieces in which it came. So the gate stands
before it, and h11 sees one whole head at a time. Nothing here does I/O.
"""
