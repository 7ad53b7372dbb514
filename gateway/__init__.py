"""The public door of the cluster: asks for stories, follows them while they are made, returns what is stored."""
