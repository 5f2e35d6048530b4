"""The doors: parse, call, print. No decision lives here."""
