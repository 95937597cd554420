# make docs: the documents that are written from tables. A test compares them (tests/system/test_docs.sh).

.PHONY: docs

docs: $(B)/bin/tributary ## write docs/config.md from the programs' option tables
	@$< config options --markdown > build/config.md && mv build/config.md docs/config.md
