"""What an export proves itself by: where it is written, and wherever it goes."""
