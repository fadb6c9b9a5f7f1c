"""The changes of all partitions in one order, and their pages."""
