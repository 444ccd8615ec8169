"""What turns a program into an EdgeX service: configuration, REST, logs, metrics, registration."""
