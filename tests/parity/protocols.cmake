blip2_probe(protocols DEPS protocols)
