"""Recipe to run: order, reuse, resume, locking, tracking."""
