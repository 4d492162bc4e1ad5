blip2_probe(vision_encoders TORCH DEPS vision)
