"""Forward TCP both ways, from socket to pipe to socket by splice(2)."""
