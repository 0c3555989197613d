"""The client: a protocol core without I/O (`protocol`) under two shells (`aio`, `blocking`)."""
