# install.mk: make install, make uninstall. PREFIX= says where it will live, DESTDIR= where it is put now (packages).
DATADIR  ?= $(PREFIX)/share/optc

.PHONY: install uninstall
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(DATADIR)/rules
	install -m 755 $(BUILD)/optc $(DESTDIR)$(PREFIX)/bin/optc
	install -m 644 runtime/optc.h ir/optc_abi.h $(DESTDIR)$(PREFIX)/include
	install -m 644 $(BUILD)/liboptc.a $(DESTDIR)$(LIBDIR)/liboptc.a
	install -m 755 $(BUILD)/liboptc.so $(DESTDIR)$(LIBDIR)/liboptc.so.0
	ln -sf liboptc.so.0 $(DESTDIR)$(LIBDIR)/liboptc.so
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))' 'includedir=$${prefix}/include' 'rulesdir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(DATADIR))/rules' '' 'Name: optc' \
	  'Description: compiler for optimizer update rules' 'Version: $(VERSION)' 'Libs: -L$${libdir} -loptc' \
	  'Libs.private: $(LLVM_STATIC) -lstdc++ -ljansson -lgomp -lm' 'Cflags: -I$${includedir}' > $(DESTDIR)$(LIBDIR)/pkgconfig/optc.pc
	for f in rules/*.opt rules/index; do [ ! -f "$$f" ] || install -m 644 "$$f" $(DESTDIR)$(DATADIR)/rules || exit 1; done
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/optc $(DESTDIR)$(PREFIX)/include/optc.h $(DESTDIR)$(PREFIX)/include/optc_abi.h
	rm -f $(DESTDIR)$(LIBDIR)/liboptc.a $(DESTDIR)$(LIBDIR)/liboptc.so $(DESTDIR)$(LIBDIR)/liboptc.so.0 $(DESTDIR)$(LIBDIR)/pkgconfig/optc.pc
	for f in rules/*.opt rules/index; do rm -f "$(DESTDIR)$(DATADIR)/$$f"; done
	-rmdir $(DESTDIR)$(DATADIR)/rules $(DESTDIR)$(DATADIR) 2>/dev/null
