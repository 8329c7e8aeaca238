/* Messages: so small that each is sent and received whole, or something is wrong. The
   first error ends a load, and says why on stderr. */
#include "ends.h"

#define MESSAGE 64

static void send_message(int descriptor, const char *message) {
  if (send(descriptor, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
    err(1, "sending a message");
}

/* False at the end of the stream. */
static int receive_message(int descriptor, char *message) {
  ssize_t count = recv(descriptor, message, MESSAGE, 0);
  if (count < 0) err(1, "receiving a message");
  if (count && count != MESSAGE) errx(1, "%zd bytes came of %d", count, MESSAGE);
  return count > 0;
}

/* False if the relay has ended the connection. */
static int answer(int sink) {
  char message[MESSAGE];
  if (!receive_message(sink, message)) return 0;
  send_message(sink, message);
  return 1;
}
