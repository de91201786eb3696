"""What we did: definitions, executors, the ledger, the command line."""
