"""Raw sources to measured, filtered, deduplicated, mixed and tokenised shards."""
