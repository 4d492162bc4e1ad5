blip2_probe(t5 TORCH DEPS language decoding)
