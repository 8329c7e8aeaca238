/* Connects, sends a message, waits for it to come back, closes, and begins again: so
   many at once. What is counted has been closed by both sides. */
#include "messages.h"

#define NEW 0
#define SOURCE 1
#define SINK 2
#define DESCRIPTORS 65536

static char message[MESSAGE] = "connect, send, receive, close";
static char has_answered[DESCRIPTORS]; /* by sink */
static int poll_;

/* A number is a kind of descriptor, and the descriptor. */
static void follow(int kind, int descriptor) {
  watch(poll_, descriptor, EPOLLIN, kind * DESCRIPTORS + descriptor);
}

/* Its message is there before the relay has accepted it. */
static void open_one(void) {
  int source = connect_to_relay();
  send_message(source, message);
  follow(SOURCE, source);
}

static void close_one(int source) {
  char answer[MESSAGE];
  if (!receive_message(source, answer)) errx(1, "no answer");
  if (memcmp(answer, message, MESSAGE)) errx(1, "another answer");
  close(source);
}

/* True at the end of what a source began; whoever only looked is not counted. */
static int serve(int sink) {
  if (answer(sink)) {
    has_answered[sink] = 1;
    return 0;
  }
  int is_counted = has_answered[sink];
  has_answered[sink] = 0;
  close(sink);
  return is_counted;
}

int main(int argc, char **argv) {
  begin(argc, argv);
  long long opened = 0, answered = 0, ended = 0;
  poll_ = epoll_create1(0);
  follow(NEW, listener);
  struct epoll_event events[EVENTS];
  long long start = now_ns(), end = start + seconds * 1000000000LL, now = start;
  while (opened < connections) open_one(), opened++;
  while (ended < opened) {
    int ready = epoll_wait(poll_, events, EVENTS, -1);
    now = now_ns();
    for (int i = 0; i < ready; i++) {
      int descriptor = events[i].data.u32 % DESCRIPTORS;
      switch (events[i].data.u32 / DESCRIPTORS) {
        case NEW:
          follow(SINK, accept_from_relay());
          break;
        case SOURCE:
          close_one(descriptor);
          answered++;
          if (now < end) open_one(), opened++;
          break;
        case SINK:
          ended += serve(descriptor);
      }
    }
  }
  if (answered != opened) errx(1, "%lld of %lld were answered", answered, opened);
  printf("{\"requests\":%lld,\"seconds\":%.6f}\n", answered, (now - start) / 1e9);
}
