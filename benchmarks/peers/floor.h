/* What both floors share: one epoll loop that answers whatever ends in an empty
   line, and knows nothing of HTTP beyond that. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS 512

/* Sends a response, or goes on with one; false if the client must take some more
   first. Closes a client that is gone, or that can't be served: then it counts an
   error. */
static int answer(int client);

static off_t size;
static int file;
static char head[512];
static int head_size;

static void prepare(const char *path) {
  struct stat found;
  file = open(path, O_RDONLY);
  if (file < 0 || fstat(file, &found) < 0) err(1, "%s", path);
  size = found.st_size;
  /* As many bytes of head as sendfile-server sends. */
  head_size = snprintf(head, sizeof head,
                       "HTTP/1.1 200 OK\r\n"
                       "Date: Wed, 01 Jan 2025 00:00:00 GMT\r\n"
                       "Content-Type: application/octet-stream\r\n"
                       "Content-Length: %lld\r\n"
                       "ETag: \"1816a8b6a6bd0000-400\"\r\n"
                       "Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n"
                       "Accept-Ranges: bytes\r\n"
                       "X-Content-Type-Options: nosniff\r\n\r\n",
                       (long long)size);
}

static int start_listening(int port) {
  struct sockaddr_in place = {.sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&place, sizeof place) < 0 ||
      listen(listener, 4096) < 0)
    err(1, "port %d", port);
  return listener;
}

/* Fails only for a client that has just been closed, and then it does not matter. */
static void watch(int poll, int operation, int descriptor, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = descriptor};
  epoll_ctl(poll, operation, descriptor, &event);
}

static void accept_all(int poll, int listener) {
  int client, one = 1;
  while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(poll, EPOLL_CTL_ADD, client, EPOLLIN);
  }
}

static void read_one(int poll, int client) {
  char request[16384];
  ssize_t count = recv(client, request, sizeof request, 0);
  if (count <= 0) {
    if (count == 0 || errno != EAGAIN) close(client);
  } else if (count >= 4 && !memcmp(request + count - 4, "\r\n\r\n", 4)) {
    if (!answer(client)) watch(poll, EPOLL_CTL_MOD, client, EPOLLOUT);
  }
}

static void go_on(int poll, int client) {
  if (answer(client)) watch(poll, EPOLL_CTL_MOD, client, EPOLLIN);
}

int main(int argc, char **argv) {
  if (argc != 3) errx(2, "usage: floor PORT FILE");
  prepare(argv[2]);
  int poll = epoll_create1(0), listener = start_listening(atoi(argv[1]));
  struct epoll_event events[EVENTS];
  signal(SIGPIPE, SIG_IGN);
  watch(poll, EPOLL_CTL_ADD, listener, EPOLLIN);
  for (;;) {
    int ready = epoll_wait(poll, events, EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      int descriptor = events[i].data.fd;
      if (descriptor == listener)
        accept_all(poll, listener);
      else if (events[i].events & EPOLLOUT)
        go_on(poll, descriptor);
      else
        read_one(poll, descriptor);
    }
  }
}
