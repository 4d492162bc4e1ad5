blip2_probe(postgres DEPS search postgres)
