"""What a server of ours tells of itself to who asks at an address of its own."""
