# cuda.mk: an NVIDIA driver without a GPU, for tests/runtime_cuda_*_test.c: a library of its own, because it is found as the real one is.
$(BUILD)/tests/libcuda_stub.so: $(BUILD)/obj/tests/cuda/stub.o $(BUILD)/libptx.a $(BUILD)/libir.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)g++ -shared $(LDFLAGS) $< $(BUILD)/libptx.a $(BUILD)/libir.a -lm -o $@
CUDA_SUITES := $(filter runtime_cuda_%,$(notdir $(TESTS:.c=)))
$(foreach t,$(CUDA_SUITES),$(eval extra_$(t) := $(BUILD)/obj/tests/cuda/calls.o))
$(CUDA_SUITES:%=$(BUILD)/tests/%): | $(BUILD)/tests/libcuda_stub.so
