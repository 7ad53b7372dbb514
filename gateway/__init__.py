"""The public door of the cluster: asks for stories, follows them while they are made, gives what is kept."""
