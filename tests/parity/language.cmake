blip2_probe(language TORCH DEPS language decoding)
