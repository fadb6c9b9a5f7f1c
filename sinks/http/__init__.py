"""The HTTP service: live streams, documents, queries, dumps and pages over what the log holds."""
