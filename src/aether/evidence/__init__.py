"""Records, fingerprints, provenance, the ledger, and the statistics that say how strong evidence is."""
