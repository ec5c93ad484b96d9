"""The models that come with the suite: MiniLM embeddings and an extractive chat model that stands on them."""
