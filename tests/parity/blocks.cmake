blip2_probe(blocks TORCH DEPS nn)
