# cuda.mk: an NVIDIA driver without a GPU, for tests/runtime_cuda_test.c: a library of its own, because it is found as the real one is.
$(BUILD)/tests/libcuda_stub.so: $(BUILD)/obj/tests/cuda/stub.o $(BUILD)/libptx.a $(BUILD)/libir.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)g++ -shared $(LDFLAGS) $< $(BUILD)/libptx.a $(BUILD)/libir.a -lm -o $@
$(BUILD)/tests/runtime_cuda_test: | $(BUILD)/tests/libcuda_stub.so
