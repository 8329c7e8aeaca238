/* Sends as much over each of many connections, all at once. At first nobody takes what
   comes, until nothing moves any more: then the relay holds as much as it ever does.
   Then all take some in turns, until they have it all. At both points it says so, and
   goes on when told to, while the connections are there to be looked at. */
#include "ends.h"

#define TOTAL (1 << 20)
#define TURN (64 << 10)
#define BUFFER (64 << 10)
/* As over Ethernet. With the segments of loopback, the kernel would take some MiB of
   each connection before the relay holds anything. */
#define SEGMENT 1448
#define STILL_MS 500
#define STUCK_MS 10000

struct flow {
  int source, sink, sent, received, is_lost;
};

static struct flow *flows;
static int poll_, whole, lost, stuck;

static void lose(struct flow *flow) {
  flow->is_lost = 1;
  lost++;
  close(flow->source);
  close(flow->sink);
}

static void feed(struct flow *flow) {
  static const char bytes[TURN];
  int rest = TOTAL - flow->sent;
  ssize_t count = send(flow->source, bytes, rest < TURN ? rest : TURN, MSG_NOSIGNAL);
  if (count < 0) return lose(flow);
  flow->sent += count;
  if (flow->sent == TOTAL) epoll_ctl(poll_, EPOLL_CTL_DEL, flow->source, NULL);
}

static void empty(struct flow *flow) {
  ssize_t count = recv(flow->sink, NULL, TURN, MSG_TRUNC);
  if (count <= 0) return lose(flow);
  flow->received += count;
  if (flow->received < TOTAL) return;
  whole++;
  epoll_ctl(poll_, EPOLL_CTL_DEL, flow->sink, NULL);
}

/* Until nothing has moved for so long, or there is nothing left to move. */
static void move(int still_ms) {
  struct epoll_event events[EVENTS];
  int ready = 1;
  while (ready > 0 && whole + lost < connections) {
    ready = epoll_wait(poll_, events, EVENTS, still_ms);
    for (int i = 0; i < ready; i++) {
      struct flow *flow = &flows[events[i].data.u32 / 2];
      if (flow->is_lost) continue;
      events[i].data.u32 % 2 ? empty(flow) : feed(flow);
    }
  }
}

static void be_looked_at(const char *state) {
  puts(state);
  fflush(stdout);
  if (getchar() != '\n') errx(1, "nobody looks");
}

/* After all bytes comes the end of the stream, and nothing else. */
static void finish(struct flow *flow) {
  char byte;
  struct pollfd ready = {.fd = flow->sink, .events = POLLIN};
  shutdown(flow->source, SHUT_WR);
  if (poll(&ready, 1, STUCK_MS) != 1)
    stuck++;
  else if (recv(flow->sink, &byte, 1, 0) != 0)
    lose(flow);
}

int main(int argc, char **argv) {
  begin(argc, argv);
  int segment = SEGMENT, buffer = BUFFER;
  setsockopt(listener, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
  setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  flows = calloc(connections, sizeof *flows);
  poll_ = epoll_create1(0);
  for (int i = 0; i < connections; i++) {
    open_pair(&flows[i].source, &flows[i].sink);
    setsockopt(flows[i].source, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    watch(poll_, flows[i].source, EPOLLOUT, 2 * i);
  }
  move(STILL_MS);
  be_looked_at("still");
  long long start = now_ns();
  for (int i = 0; i < connections; i++)
    if (!flows[i].is_lost) watch(poll_, flows[i].sink, EPOLLIN, 2 * i + 1);
  move(STUCK_MS);
  long long taken = now_ns() - start;
  be_looked_at("moved");
  for (int i = 0; i < connections; i++) {
    if (flows[i].is_lost) continue;
    if (flows[i].received < TOTAL) stuck++;
    else finish(&flows[i]);
  }
  printf("{\"bytes\":%lld,\"seconds\":%.6f,\"lost\":%d,\"stuck\":%d}\n",
         (long long)whole * TOTAL, taken / 1e9, lost, stuck);
}
