"""Terminal output: progress of training, and tables of results."""
