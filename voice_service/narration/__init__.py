"""One narration: text to segments, segments to audio in the order of the text."""
