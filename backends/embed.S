/* embed.S: texts that the back end writes into objects and headers, ended by 0. */
#define EMBED(name, file) \
  .globl name; .hidden name; name: .incbin file; .byte 0
  .section .rodata
EMBED(backend_driver_x86_64, "backends/driver_x86_64.s")
EMBED(backend_driver_aarch64, "backends/driver_aarch64.s")
EMBED(backend_abi_text, "ir/optc_abi.h")
  .section .note.GNU-stack, "", %progbits
