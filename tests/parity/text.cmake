add_executable(probe_tokenize text_probe.cpp)
target_link_libraries(probe_tokenize PRIVATE blip2_text)
set_target_properties(probe_tokenize PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/probe
                                                OUTPUT_NAME tokenize)
