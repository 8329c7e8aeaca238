/* The floor of sendfile: receive, send a head that lies ready, and the file. */
#include "floor.h"

static void answer(int client) {
  off_t offset = 0;
  if (send(client, head, head_size, MSG_MORE | MSG_NOSIGNAL) != head_size ||
      sendfile(client, file, &offset, size) != size)
    close(client);
}
