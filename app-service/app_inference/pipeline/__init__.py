"""The path of a frame: queue, workers, analysis, results, and the models that serve it."""
