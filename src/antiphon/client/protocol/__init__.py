"""The client's protocol core: the rules that both clients keep, without I/O, clocks or randomness."""
