"""Reading datasets, preparing them as manifests and waveform stores, and turning clips into batches."""
