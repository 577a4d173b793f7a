"""Models from a Hugging Face hub: found, looked into by range requests, downloaded straight into shards."""
