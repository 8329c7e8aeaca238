/* The floor of sendfile: receive, send a head that lies ready, and the file. */
#include "floor.h"

#define CLIENTS 65536

static int answer(int client) {
  static off_t offsets[CLIENTS]; /* how much of the file each one has */
  off_t *offset = &offsets[client % CLIENTS];
  if (!*offset && send(client, head, head_size, MSG_MORE | MSG_NOSIGNAL) != head_size)
    return close(client), 1;
  while (*offset < size) {
    ssize_t sent = sendfile(client, file, offset, size - *offset);
    if (sent < 0 && errno == EAGAIN) return 0;
    if (sent <= 0) {
      *offset = 0;
      return close(client), 1;
    }
  }
  *offset = 0;
  return 1;
}
