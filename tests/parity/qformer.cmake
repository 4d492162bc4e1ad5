blip2_probe(qformer TORCH DEPS training)
