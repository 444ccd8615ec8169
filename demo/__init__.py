"""`make run`: the whole path on one machine, from a camera to results on the page and in the terminal."""
