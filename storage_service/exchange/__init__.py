"""Export and import: carries all that is stored from one set-up to another in a file."""
