# accuracy.mk: `make accuracy` runs every f32 operand of every elementary function, compiled by optc for this machine, and writes the table.
# FUNCTIONS='exp log': only these; STEP=n: every n-th operand; ROUTE=gcc: the graphs as C, compiled by gcc;
# HARD=tests/data/hard_inputs rewrites the operands that the permanent tests keep.
ACCURACY := $(BUILD)/accuracy
$(ACCURACY)/accuracy: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/accuracy/*.c)) $(BUILD)/obj/tests/support/function_graph.o $(BUILD)/libbackends.a $(BUILD)/libpasses.a $(BUILD)/libir.a
	@mkdir -p $(@D)
	g++ $(LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LLVM_SHARED) -lmpfr -lgmp -lm -ldl -lpthread -o $@

.PHONY: accuracy
accuracy: $(ACCURACY)/accuracy
	$< $(ACCURACY) --step=$(or $(STEP),1) --route=$(or $(ROUTE),machine) --table=$(BUILD)/accuracy.md $(if $(HARD),--hard=$(HARD)) $(FUNCTIONS)
