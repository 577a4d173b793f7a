"""What the node's owner may do: models on disk and in memory, configuration, shutdown."""
