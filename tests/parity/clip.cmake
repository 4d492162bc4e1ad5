blip2_probe(clip TORCH DEPS model)
