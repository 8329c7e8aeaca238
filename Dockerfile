# An image that holds the server and what runs it; docs/operations.md shows how to
# build it, and how to run it.

# BASE is what runs it: any image with Python 3.11 or later, and with or without a
# shell. BUILDER is one with the same interpreter at the same path, its module venv,
# and a shell.
ARG BASE=python:3.13-slim
ARG BUILDER=$BASE

FROM $BUILDER AS builder
# Variables of pip: 1 takes all from wheelhouse/, a URL is that of another index.
ARG PIP_NO_INDEX
ARG PIP_INDEX_URL
WORKDIR /build
COPY . .
# The pip that installs stays behind.
RUN python3 -m venv pip \
 && python3 -m venv --without-pip /opt/sendfile-server \
 && pip/bin/pip --python /opt/sendfile-server/bin/python3 install --no-cache-dir \
    --no-compile --find-links wheelhouse '.[metrics]'
# Bytecode of all that is imported: most images of Python have none, and nothing can be
# written later. It is valid by hash, since who copies layers may round times.
ENV PYTHONPYCACHEPREFIX=/opt/sendfile-server/bytecode
RUN /opt/sendfile-server/bin/python3 -Pc "\
import py_compile, sys, sendfile_server.cli, sendfile_server.probe; \
import sendfile_server.monitoring.exposition; \
by_hash = py_compile.PycInvalidationMode.CHECKED_HASH; \
files = {getattr(each, '__file__', None) or '' for each in sys.modules.values()}; \
[py_compile.compile(each, invalidation_mode=by_hash) \
 for each in files if each.endswith('.py')]"

FROM $BASE
LABEL org.opencontainers.image.title="sendfile-server" \
      org.opencontainers.image.description="A static file server on sendfile(2)" \
      org.opencontainers.image.licenses="MIT"
COPY --from=builder /opt/sendfile-server /opt/sendfile-server
# No VOLUME: every container would take a copy of the site that its image holds.
WORKDIR /www
ENV PATH=/opt/sendfile-server/bin:$PATH \
    PYTHONPYCACHEPREFIX=/opt/sendfile-server/bytecode \
    SENDFILE_SERVE_DIRECTORY=/www \
    SENDFILE_SERVE_LISTEN=0.0.0.0:8080 \
    SENDFILE_SERVE_METRICS=127.0.0.1:8081
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s \
    CMD ["sendfile-probe", "http://127.0.0.1:8081/live"]
ENTRYPOINT ["sendfile-serve"]
