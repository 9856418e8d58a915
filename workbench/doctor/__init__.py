"""What this installation can do, and whether this machine is quiet enough to measure on."""
