"""The processes beside the pipeline: sinks and the HTTP service, and how they are kept."""
