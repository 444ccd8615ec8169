"""The path of a frame: frame queue, workers, analysis, results, and the models that serve it."""
