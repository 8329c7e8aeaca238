/* What all loads of a relay share: connections with both of their ends here, the
   source that connects to the relay, and the sink that the relay connects to. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define DEADLINE_S 60

static int relay_port;
static int listener; /* where the relay connects to */
static int connections;
static int seconds;

static long long now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int connect_to_relay(void) {
  struct sockaddr_in place = {.sin_family = AF_INET,
                              .sin_port = htons(relay_port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1, source = socket(AF_INET, SOCK_STREAM, 0);
  if (source < 0 || connect(source, (struct sockaddr *)&place, sizeof place) < 0)
    err(1, "connecting to the relay");
  setsockopt(source, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return source;
}

static int accept_from_relay(void) {
  struct pollfd ready = {.fd = listener, .events = POLLIN};
  if (poll(&ready, 1, DEADLINE_S * 1000) != 1)
    errx(1, "the relay did not connect within %d s", DEADLINE_S);
  int one = 1, sink = accept(listener, NULL, NULL);
  if (sink < 0) err(1, "accepting from the relay");
  setsockopt(sink, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return sink;
}

/* Both ends of a new connection, neither of which blocks. Whoever only looked whether
   the relay listens may come through it late, and has nothing to say. */
static inline void open_pair(int *source, int *sink) {
  char byte = 0;
  *source = connect_to_relay();
  if (send(*source, &byte, 1, MSG_NOSIGNAL) != 1) err(1, "greeting");
  for (*sink = accept_from_relay(); recv(*sink, &byte, 1, 0) != 1;) {
    close(*sink);
    *sink = accept_from_relay();
  }
  fcntl(*source, F_SETFL, O_NONBLOCK);
  fcntl(*sink, F_SETFL, O_NONBLOCK);
}

static void watch(int poll, int descriptor, unsigned events, unsigned number) {
  struct epoll_event event = {.events = events, .data.u32 = number};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event) < 0) err(1, "epoll_ctl");
}

static void begin(int argc, char **argv) {
  if (argc < 5) errx(2, "usage: %s PORT LISTENER CONNECTIONS SECONDS", argv[0]);
  relay_port = atoi(argv[1]);
  listener = atoi(argv[2]);
  connections = atoi(argv[3]);
  seconds = atoi(argv[4]);
  alarm(seconds + DEADLINE_S); /* who is stuck is ended */
}
