"""The dump: frames that are kept, files that are published whole, deltas, older dumps."""
