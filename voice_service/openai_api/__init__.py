"""OpenAI's SDK as this service uses it: loaded late, never retrying by itself, its failures told in our own words."""
