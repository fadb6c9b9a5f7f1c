"""PyPI's XML-RPC methods, living and dead, from what is held."""
