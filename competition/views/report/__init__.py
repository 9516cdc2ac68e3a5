"""The HTML report: scores, charts and the hardest rows."""
