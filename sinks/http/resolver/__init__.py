"""`/v1/query`: which files fit an environment, best first."""
