"""A static file server on sendfile(2), as one straight pipeline.

1. `protocol` turns bytes into a validated `Request`: a gate, then h11.
2. `resource` turns its target into an open file, a redirect or a refusal.
3. `response` decides the status, the fields and the body: a pure function.
4. `transport` puts the chunks on the socket: bytes by send, spans by sendfile.
5. `server` composes: connections, what they share, and what is remembered.

The stages share the words of `semantics` and the tree of `errors`, and never
import one another; only `server` sees them all. `relay` is the second program: it
forwards TCP by splice(2). Both run in `hosting`: workers, listeners, a supervisor.
`options` says what an option is, `config` states every one once; `cli` has the
commands, but for `probe`, which asks a server how it is and knows nothing of it.
"""

__version__ = "0.1.0"
