"""What crosses from Python to the page: the shape of every panel's view. The page's types are made from these."""
