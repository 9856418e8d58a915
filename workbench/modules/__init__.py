"""What is done with torch modules whatever they compute: how they are called, copied, compared."""
