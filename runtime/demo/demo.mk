# demo.mk
