"""Variants measured on another machine, which is reached by OpenSSH."""
