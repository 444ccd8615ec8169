"""Where pictures come from, one module for each kind of source; uses v4l2, frame, jpeg, errors and timing."""
