"""What changes or enriches detected objects after inference, in the order of a pipeline's configuration. Pure."""
