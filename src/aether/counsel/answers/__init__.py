"""What an answer to a request in free text is made of, one module for each kind of answer."""
