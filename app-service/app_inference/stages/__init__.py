"""What looks at detections after inference and changes or enriches them."""
