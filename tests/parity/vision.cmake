blip2_probe(vision TORCH DEPS vision data)
