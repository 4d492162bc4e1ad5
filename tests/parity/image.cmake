blip2_probe(image DEPS image)
