"""Pictures and detections as values: decoding, resizing, boxes, agreement. Pure: no I/O, threads or OpenVINO."""
