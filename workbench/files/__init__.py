"""Files and disks: what is known by its content, and what the system refuses."""
