# install.mk: make install, make uninstall.
