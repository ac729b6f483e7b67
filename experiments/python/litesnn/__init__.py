"""The `litesnn` command, with the libtorch of this environment's torch."""
