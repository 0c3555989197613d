"""The client for asyncio: sockets, timers and tasks around `client.protocol`."""
