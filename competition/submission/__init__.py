"""`submission.csv`: its format, the submission log and its grade."""
