"""`submission.csv`: its format, the submission log and grading."""
