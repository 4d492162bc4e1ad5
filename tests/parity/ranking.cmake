blip2_probe(ranking TORCH DEPS retrieval io)
