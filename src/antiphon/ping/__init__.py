"""Round trips over a signed-in connection: load, times, and what is told of them."""
