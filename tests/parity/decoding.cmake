blip2_probe(decoding TORCH DEPS decoding)
