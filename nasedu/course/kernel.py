"""How building and running start a kernel: this environment's own, and without its routine messages."""

NAME = "python3"
# ipykernel warns at each start that local sockets are not encrypted, and tells of every kernel that is stopped
ARGUMENTS = ["--log-level=CRITICAL"]
