"""The voices of ElevenLabs, through their own SDK."""
