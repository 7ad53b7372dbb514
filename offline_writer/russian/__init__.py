"""Russian: the stock of prose, and what turns a brief into an arc of it."""
