# make install: programs, systemd units, example configs, the MNIST sample, documents. DESTDIR for packaging.

DESTDIR    ?=
BINDIR     := $(PREFIX)/bin
SHAREDIR   := $(PREFIX)/share/tributary
DOCDIR     := $(PREFIX)/share/doc/tributary
UNITDIR    := $(PREFIX)/lib/systemd/system
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
UNITS      := edge cloud device

.PHONY: install uninstall FORCE

# The place of the installed data is compiled in: another PREFIX than last time compiles that file again.
$(B)/datadir: FORCE
	@mkdir -p $(@D)
	@echo '$(DATADIR)' | cmp -s - $@ || echo '$(DATADIR)' > $@
$(B)/shared/learn/sources.o: $(B)/datadir

install: all ## into PREFIX (default /usr/local), below DESTDIR if set; PROGRAMS=tributary-edge installs that one
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DATADIR) $(DESTDIR)$(DOCDIR)/docs \
	    $(DESTDIR)$(SHAREDIR)/configs $(DESTDIR)$(SYSCONFDIR)/tributary
	install -s -m 755 $(PROGRAMS:%=$(B)/bin/%) $(DESTDIR)$(BINDIR)
	for u in $(UNITS); do \
	    sed 's|@BINDIR@|$(BINDIR)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g; s|@DOCDIR@|$(DOCDIR)|g' deploy/systemd/tributary-$$u.service \
	        > $(DESTDIR)$(UNITDIR)/tributary-$$u.service; done
	cp -r configs/. $(DESTDIR)$(SHAREDIR)/configs
	cp -r data/mnist-sample $(DESTDIR)$(DATADIR)
	install -m 644 LICENSE README.md CONTRIBUTING.md $(DESTDIR)$(DOCDIR)
	install -m 644 $(wildcard docs/*.md docs/*.svg) $(DESTDIR)$(DOCDIR)/docs

uninstall: ## what install put there; configs in etc and state stay
	rm -f $(PROGRAMS:%=$(DESTDIR)$(BINDIR)/%) $(UNITS:%=$(DESTDIR)$(UNITDIR)/tributary-%.service)
	rm -rf $(DESTDIR)$(SHAREDIR) $(DESTDIR)$(DOCDIR)
