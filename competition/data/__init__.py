"""A competition's files, read and checked into a `Dataset`."""
