"""What `status` and `doctor` say of a log."""
