"""The contenders: each module is a program that runs the chain in its environment until SIGTERM."""
