"""The dump: frames on disk, files published as a whole, deltas, and older dumps."""
