"""One file, one model; the file name is the model's name."""
