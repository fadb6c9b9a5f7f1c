"""Commands that change a log from outside: asks, bootstrap, redaction."""
