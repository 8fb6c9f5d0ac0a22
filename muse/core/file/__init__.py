"""Where are a log's bytes? The file, its index, its archive, and how it is read."""
