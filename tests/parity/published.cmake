blip2_probe(published TORCH DEPS model)
