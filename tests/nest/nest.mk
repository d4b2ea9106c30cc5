# nest.mk: a rule in all its forms, for the suites runtime_nest_*_test.c.
$(foreach t,$(filter runtime_nest_%,$(notdir $(TESTS:.c=))),$(eval extra_$(t) := $(BUILD)/obj/tests/nest/forms.o))
