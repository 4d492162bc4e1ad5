blip2_probe(objectives TORCH DEPS objectives)
