blip2_probe(training TORCH DEPS training)
