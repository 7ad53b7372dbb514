"""Sound: exact frames of MPEG audio, encoding of PCM, and the check that a segment is whole."""
