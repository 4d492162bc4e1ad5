blip2_probe(io DEPS io)
