/* Sends through a relay as much as it takes, over each connection, one way. The sink
   lets all go without a copy (MSG_TRUNC, tcp(7)); the source sends the same memory
   again and again, which takes less than sendfile does: that lends single pages, of
   which whoever takes them has more work. */
#include "ends.h"

#define TURN (1 << 20)

struct flow {
  int source, sink;
  long long sent, received;
  int has_ended;
};

static struct flow *flows;
static int poll_;

static void feed(struct flow *flow, int is_over) {
  if (is_over) {
    epoll_ctl(poll_, EPOLL_CTL_DEL, flow->source, NULL);
    shutdown(flow->source, SHUT_WR);
    return;
  }
  static const char bytes[TURN];
  ssize_t count = send(flow->source, bytes, TURN, MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN) err(1, "sending");
  if (count > 0) flow->sent += count;
}

static void empty(struct flow *flow) {
  ssize_t count = recv(flow->sink, NULL, TURN, MSG_TRUNC);
  if (count < 0 && errno != EAGAIN) err(1, "receiving");
  if (count > 0) flow->received += count;
  if (count == 0) {
    if (flow->received != flow->sent)
      errx(1, "%lld bytes came of %lld", flow->received, flow->sent);
    flow->has_ended = 1;
    close(flow->sink);
    close(flow->source);
  }
}

int main(int argc, char **argv) {
  begin(argc, argv);
  flows = calloc(connections, sizeof *flows);
  poll_ = epoll_create1(0);
  for (int i = 0; i < connections; i++) {
    open_pair(&flows[i].source, &flows[i].sink);
    watch(poll_, flows[i].source, EPOLLOUT, 2 * i);
    watch(poll_, flows[i].sink, EPOLLIN, 2 * i + 1);
  }
  struct epoll_event events[EVENTS];
  long long start = now_ns(), end = start + seconds * 1000000000LL, bytes = 0;
  for (int ended = 0; ended < connections;) {
    int ready = epoll_wait(poll_, events, EVENTS, -1), is_over = now_ns() >= end;
    for (int i = 0; i < ready; i++) {
      struct flow *flow = &flows[events[i].data.u32 / 2];
      if (events[i].data.u32 % 2 == 0) {
        feed(flow, is_over);
        continue;
      }
      empty(flow);
      ended += flow->has_ended;
    }
  }
  long long taken = now_ns() - start;
  for (int i = 0; i < connections; i++) bytes += flows[i].received;
  printf("{\"bytes\":%lld,\"seconds\":%.6f}\n", bytes, taken / 1e9);
}
