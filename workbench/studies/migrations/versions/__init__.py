"""Each file brings the tables from one form to the next."""
