blip2_probe(chat DEPS chat)
