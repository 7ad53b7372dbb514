"""The store in Supabase: PostgREST for what is known, Storage for the bytes of audio."""
