"""How building and running start a kernel: this environment's own, and without its routine warning."""

NAME = "python3"
ARGUMENTS = ["--log-level=ERROR"]  # ipykernel warns at each start that local sockets are not encrypted
