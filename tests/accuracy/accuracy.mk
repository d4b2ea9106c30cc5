# accuracy.mk: `make accuracy` runs every f32 operand of every elementary function (FUNCTIONS=..., STEP=n for a sample) and writes the table.
# HARD=tests/data/hard_inputs also rewrites the operands that the permanent tests keep.
ACCURACY := $(BUILD)/accuracy
$(ACCURACY)/accuracy: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/accuracy/*.c)) $(BUILD)/obj/tests/support/function_graph.o $(BUILD)/libpasses.a $(BUILD)/libir.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lmpfr -lgmp -lm -ldl -lpthread -o $@

.PHONY: accuracy
accuracy: $(ACCURACY)/accuracy
	$< $(ACCURACY) --step=$(or $(STEP),1) --table=$(BUILD)/accuracy.md $(if $(HARD),--hard=$(HARD)) $(FUNCTIONS)
