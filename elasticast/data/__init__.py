"""From raw audio and annotations to a manifest and waveform stores."""
