blip2_probe(qformer TORCH DEPS qformer objectives)
