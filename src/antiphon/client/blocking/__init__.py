"""The client without an event loop: a socket and the caller's thread around `client.protocol`."""
