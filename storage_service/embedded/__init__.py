"""The store that needs nothing: SQLite and files."""
