/* Sends a message over each connection when it is due, and waits for it to come back.
   When messages are due does not depend on answers: whoever is late with one is late
   with the next, and all of it counts. Nothing here sleeps, so that how long this side
   takes to wake is no part of what is measured. */
#include "messages.h"

#define MEAN_GAP_NS 2000000

struct client {
  int source, sink, is_waiting;
  long long due_ns;
  char message[MESSAGE];
};

static struct client *clients;
static unsigned *latencies_ns;
static size_t count, most;

/* From nothing to twice the mean, so that clients meet as strangers do. */
static long long draw_gap_ns(void) { return random() % (2 * MEAN_GAP_NS); }

static void ask(struct client *client) {
  memset(client->message, count, MESSAGE);
  send_message(client->source, client->message);
  client->is_waiting = 1;
}

static void take_answer(struct client *client) {
  char message[MESSAGE];
  if (!receive_message(client->source, message)) errx(1, "no answer");
  if (memcmp(message, client->message, MESSAGE)) errx(1, "another answer");
  if (count == most) errx(1, "more answers than there can be");
  latencies_ns[count++] = now_ns() - client->due_ns;
  client->due_ns += draw_gap_ns();
  client->is_waiting = 0;
}

static int compare(const void *a, const void *b) {
  unsigned left = *(const unsigned *)a, right = *(const unsigned *)b;
  return (left > right) - (left < right);
}

static double quantile_us(double share) {
  return latencies_ns[(size_t)(share * count)] / 1e3;
}

int main(int argc, char **argv) {
  begin(argc, argv);
  int poll = epoll_create1(0), waiting = 0;
  struct epoll_event events[EVENTS];
  clients = calloc(connections, sizeof *clients);
  most = 4LL * connections * seconds * 1000000000LL / MEAN_GAP_NS;
  latencies_ns = calloc(most, sizeof *latencies_ns);
  for (int i = 0; i < connections; i++) {
    open_pair(&clients[i].source, &clients[i].sink);
    watch(poll, clients[i].source, EPOLLIN, 2 * i);
    watch(poll, clients[i].sink, EPOLLIN, 2 * i + 1);
  }
  long long start = now_ns(), end = start + seconds * 1000000000LL, now = start;
  for (int i = 0; i < connections; i++) clients[i].due_ns = start + draw_gap_ns();
  while (now < end || waiting) {
    for (int i = 0; i < connections && now < end; i++) {
      if (clients[i].is_waiting || clients[i].due_ns > now) continue;
      ask(&clients[i]);
      waiting++;
    }
    int ready = epoll_wait(poll, events, EVENTS, 0);
    for (int i = 0; i < ready; i++) {
      struct client *client = &clients[events[i].data.u32 / 2];
      if (events[i].data.u32 % 2) {
        if (!answer(client->sink)) errx(1, "the relay ended a connection");
        continue;
      }
      take_answer(client);
      waiting--;
    }
    now = now_ns();
  }
  qsort(latencies_ns, count, sizeof *latencies_ns, compare);
  printf("{\"requests\":%zu,\"seconds\":%.6f,\"p50_us\":%.2f,\"p99_us\":%.2f,"
         "\"p99_9_us\":%.2f}\n",
         count, (now - start) / 1e9, quantile_us(0.5), quantile_us(0.99),
         quantile_us(0.999));
}
