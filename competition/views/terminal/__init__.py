"""Progress while models train, and tables of results."""
