# bench.mk: make bench [QUICK=1] [PEERS=1]: everything measured against the best alternative, in one run on the same buffers.
# PEERS=1 asks for PyTorch and DeepSpeed in PYTHON, a Python that has them (in a venv: pip install torch deepspeed); what it lacks is said and left out.
PYTHON     ?= python3
BENCH      := $(BUILD)/bench
BENCH_FAST := $(CC) -std=gnu11 -O3 -march=native -Wall -Wextra -Wno-unused-parameter -I. -I$(BENCH)
BENCH_JSON := $(BUILD)/bench.json

.PHONY: bench
bench: $(BENCH)/bench_adamw $(BENCH)/bench_rules $(BENCH)/bench_products $(BENCH)/bench_compile $(if $(PEERS),$(BENCH)/libadamw_list.so)
	@rm -f $(BENCH_JSON)
	@$(BENCH)/bench_compile $(BENCH_JSON) $(BUILD)/optc rules/adamw.opt $(if $(QUICK),quick)
	@OMP_WAIT_POLICY=active $(BENCH)/bench_adamw $(BENCH_JSON) $(if $(QUICK),quick)
	@OMP_WAIT_POLICY=active $(BENCH)/bench_rules $(BENCH_JSON) $(if $(QUICK),quick)
	@OMP_WAIT_POLICY=active $(BENCH)/bench_products $(BENCH_JSON) $(if $(QUICK),quick)
	@$(if $(PEERS),$(PYTHON) tests/bench/peers.py $(BENCH_JSON) $(BENCH) $(if $(QUICK),quick))

$(BENCH)/%.o: tests/bench/%.c tests/bench/adamw_peers.h tests/bench/measure.h
	@mkdir -p $(@D)
	$(BENCH_FAST) -c $< -o $@
$(BENCH)/adamw_plain.o: tests/bench/adamw_plain.c tests/bench/adamw_peers.h
	@mkdir -p $(@D)
	$(BENCH_FAST) -ffast-math -DADAMW_NAME=adamw_plain_c -c $< -o $@
$(BENCH)/adamw_exact.o: tests/bench/adamw_plain.c tests/bench/adamw_peers.h
	@mkdir -p $(@D)
	$(BENCH_FAST) -fno-math-errno -fno-trapping-math -DADAMW_NAME=adamw_exact_c -c $< -o $@
$(BENCH)/adamw.o $(BENCH)/adamw.h &: rules/adamw.opt $(BUILD)/optc
	@mkdir -p $(BENCH)
	$(BUILD)/optc $< -o $(BENCH)/adamw.o --header $(BENCH)/adamw.h
$(BENCH)/adamw_flush.o $(BENCH)/adamw_flush.h &: tests/bench/adamw_flush.opt $(BUILD)/optc
	@mkdir -p $(BENCH)
	$(BUILD)/optc $< -o $(BENCH)/adamw_flush.o --header $(BENCH)/adamw_flush.h
$(BENCH)/bench_adamw.o: tests/bench/bench_adamw.c $(BENCH)/adamw.h $(BENCH)/adamw_flush.h tests/bench/measure.h tests/bench/adamw_peers.h
	$(BENCH_FAST) -fopenmp -c $< -o $@
$(BENCH)/bench_adamw: $(addprefix $(BENCH)/,bench_adamw.o measure.o adamw_intrinsics.o adamw_plain.o adamw_exact.o adamw.o adamw_flush.o)
	$(CC) -fopenmp $^ -ljansson -lm -o $@
$(BENCH)/libadamw_list.so: tests/bench/adamw_list.c $(BENCH)/adamw.o
	$(BENCH_FAST) -fopenmp -fPIC -shared $^ -o $@
$(BENCH)/bench_compile: tests/bench/bench_compile.c $(BENCH)/measure.o $(LIB)
	g++ -no-pie -x c -std=gnu11 -O2 -I. -Iir -c $< -o $(BENCH)/bench_compile.o
	g++ -no-pie $(BENCH)/bench_compile.o $(BENCH)/measure.o -Wl,--start-group $(LIB) -Wl,--end-group -static-libstdc++ -static-libgcc $(LLVM_STATIC) \
	  -ljansson -fopenmp -lm -Wl,--gc-sections -o $@
$(BENCH)/bench_rules: tests/bench/bench_rules.c $(addprefix $(BENCH)/,measure.o adamw_intrinsics.o) $(LIB)
	$(BENCH_FAST) -Iir -c $< -o $(BENCH)/bench_rules.o
	g++ -no-pie $(BENCH)/bench_rules.o $(BENCH)/measure.o $(BENCH)/adamw_intrinsics.o -Wl,--start-group $(LIB) -Wl,--end-group -static-libstdc++ -static-libgcc $(LLVM_STATIC) \
	  -ljansson -fopenmp -lm -Wl,--gc-sections -o $@
$(BENCH)/bench_products: tests/bench/bench_products.c $(BENCH)/measure.o $(LIB)
	$(BENCH_FAST) -Iir -c $< -o $(BENCH)/bench_products.o
	g++ -no-pie $(BENCH)/bench_products.o $(BENCH)/measure.o -Wl,--start-group $(LIB) -Wl,--end-group -static-libstdc++ -static-libgcc $(LLVM_STATIC) \
	  -ljansson -fopenmp -lm -ldl -Wl,--gc-sections -o $@
