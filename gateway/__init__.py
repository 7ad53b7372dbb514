"""The public service of the cluster: accepts stories, runs them, streams them to watchers, returns stored ones."""
