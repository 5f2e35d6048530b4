"""What comes in at the door: reading a brief, what must be asked first, and what is declined."""
