"""`status` and `doctor`: how a log and its files are."""
