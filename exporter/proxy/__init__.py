"""The data plane: the port behind which cores are exchanged, and the endpoint in front of it."""
