"""Networks that turn rows or images into embeddings."""
