blip2_probe(evaluation DEPS evaluation io)
