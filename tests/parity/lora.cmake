blip2_probe(lora TORCH DEPS language decoding)
