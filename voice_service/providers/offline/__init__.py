"""The embedded voice: espeak-ng, run in processes of its own. Needs no key and no network."""
