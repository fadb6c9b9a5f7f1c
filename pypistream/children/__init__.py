"""The processes beside the pipeline, sinks and HTTP service, and how they are kept running."""
