"""What is known, as data files in which every row has a source and a date, and the readers of them."""
