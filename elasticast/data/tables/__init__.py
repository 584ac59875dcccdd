"""Read your own tables: rows, columns, labels, audio files and splits."""
