# Everything that is done with smtpmail, from the sources to an installed
# package.  `make help' lists it.

EMACS ?= emacs
CARGO ?= cargo
MAKEINFO ?= makeinfo

# Where `make install' puts the Lisp and the engine: a directory of the user,
# or PREFIX/share/emacs/site-lisp/smtpmail below DESTDIR.
ifdef PREFIX
LISPDIR ?= $(PREFIX)/share/emacs/site-lisp/smtpmail
else
LISPDIR ?= $(HOME)/.local/share/emacs/site-lisp/smtpmail
endif

BATCH := $(EMACS) -Q --batch -L lisp --eval "(setq load-prefer-newer t)"
LISP := $(filter-out %-autoloads.el,$(wildcard lisp/*.el))
RUST := Cargo.toml Cargo.lock $(shell find src crates -name '*.rs' -o -name Cargo.toml)
SUFFIX := $(if $(filter Darwin,$(shell uname -s)),dylib,so)
ENGINE := lisp/smtpmail-core.$(SUFFIX)
SERVER := target/release/smtpmail-test-server
# Each way into the engine and out of it: a send, a queue, a login in Lisp,
# C-g, broken connections.
ASSERTED := $(patsubst %,test/smtpmail-%-tests.el,send queue methods own-methods quit breaks outbox-list)

.PHONY: help
help: ## list all of this
	@echo 'make TARGET.  EMACS=, CARGO= and MAKEINFO= name other programs; TESTS="FILE ..." runs only those.'
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  %-18s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Build it, see it

.PHONY: setup
setup: ## install or name the plain packages that are missing
	@sh test/setup.sh

.PHONY: module
module: $(ENGINE) ## build the engine and put it beside the Lisp

# By another name: to write over a module that is loaded kills its Emacs.
$(ENGINE): $(RUST)
	$(CARGO) build --release --locked --lib
	cp target/release/libsmtpmail_core.$(SUFFIX) $@.new
	mv $@.new $@

.PHONY: lisp
lisp: lisp/smtpmail-autoloads.el $(LISP:.el=.elc) ## byte-compile the Lisp, write the autoloads

# Another Emacs compiles it anew: what a newer one wrote an older one cannot read.
COMPILED_BY := build/compiled-by
.PHONY: FORCE
$(COMPILED_BY): FORCE
	@mkdir -p build
	@$(EMACS) -Q --batch --eval '(princ emacs-version)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# Where a slot of a structure is, is compiled into whatever looks at it.
STRUCTURES := $(shell grep -l '^.cl-defstruct' lisp/*.el)
lisp/%.elc: lisp/%.el $(COMPILED_BY) $(STRUCTURES)
	@echo "  ELC $<"
	@$(BATCH) --eval "(setq byte-compile-error-on-warn t)" -f batch-byte-compile $<

lisp/smtpmail-autoloads.el: $(LISP)
	@$(BATCH) -l package --eval "(package-generate-autoloads 'smtpmail (expand-file-name \"lisp\"))" 2>/dev/null

$(SERVER): Cargo.lock $(shell find test/server -name '*.rs' -o -name Cargo.toml)
	$(CARGO) build --release --locked -p smtpmail-test-server

.PHONY: demo
demo: setup module lisp $(SERVER) ## send a real message and show what arrived
	@SERVER=$(SERVER) EMACS=$(EMACS) sh test/demo.sh

##@ Test it

.PHONY: test
test: setup module lisp test-rust test-lisp test-assertions test-builtin test-servers test-clients ## everything that must hold

.PHONY: test-rust
test-rust: ## the engine's own tests
	$(CARGO) test --locked --workspace

.PHONY: test-lisp
test-lisp: module lisp doc/smtpmail.info $(SERVER) ## ERT in batch Emacs, against the test server
	@SERVER=$(SERVER) EMACS=$(EMACS) sh test/run-ert.sh $(TESTS)

.PHONY: test-assertions
test-assertions: module lisp $(SERVER) ## suites that load the engine, with Emacs checking what it does
	@SERVER=$(SERVER) EMACS=$(EMACS) EMACSFLAGS=--module-assertions \
	  sh test/run-ert.sh $(or $(TESTS),$(ASSERTED))

.PHONY: test-builtin
test-builtin: module lisp $(SERVER) ## what the built-in fails; UPDATE=1 writes the manual's table
	@SERVER=$(SERVER) EMACS=$(EMACS) UPDATE=$(UPDATE) sh test/builtin/run.sh

.PHONY: test-matrix
test-matrix: module $(SERVER) ## the Lisp once more, with the Emacs of Debian's backports
	@SERVER=$(SERVER) EMACS=$(EMACS) sh test/matrix.sh $(TESTS)

.PHONY: figures-background
figures-background: module lisp $(SERVER) ## print how long Emacs is busy with mail in the background
	@SMTPMAIL_TEST_SERVER=$(CURDIR)/$(SERVER) $(BATCH) -L test -l test/background-figures.el -f background-figures

.PHONY: soak
soak: soak-kills soak-mail ## both of the next; most of an hour

.PHONY: soak-kills
soak-kills: module lisp $(SERVER) ## kill an Emacs that sends in the background, 300 times
	@SMTPMAIL_KILLS=$${SMTPMAIL_KILLS:-300} SERVER=$(SERVER) EMACS=$(EMACS) \
	  SMTPMAIL_TEST_LIMIT=7200 sh test/run-ert.sh test/smtpmail-background-kill-tests.el

MESSAGES ?= 10000
.PHONY: soak-mail
soak-mail: module lisp ## MESSAGES in the background to Postfix, while all of it breaks; account for each
	@EMACS=$(EMACS) python3 test/soak/soak.py --messages $(MESSAGES) $(if $(SEED),--seed $(SEED))

.PHONY: servers
servers: ## fetch the real mail servers into build/
	@test/servers/fetch all

.PHONY: clients
clients: ## fetch the mail clients that are not part of Emacs into build/
	@test/clients/fetch

.PHONY: test-servers
test-servers: module lisp ## send to real Postfix, Exim, sendmail, aiosmtpd and smtp-server
	@SERVER=$(SERVER) EMACS=$(EMACS) sh test/run-ert.sh test/real/*-tests.el

.PHONY: test-clients
test-clients: module lisp $(SERVER) ## drive real mail clients, with a real server at the other end
	@SERVER=$(SERVER) EMACS=$(EMACS) sh test/run-ert.sh test/clients/*-tests.el

##@ Measure it

# Built by cargo into its own place, which CARGO_TARGET_DIR may name.
.PHONY: bench-setup
bench-setup: module lisp
	@$(CARGO) build --release --locked -q -p smtpmail-bench -p smtpmail-test-server

.PHONY: bench
bench: bench-setup ## measure: the engine's parts, then sending, against the built-in and others
	@$(CARGO) bench --locked -q -p smtpmail-bench -- --quiet --warm-up-time 0.3 --measurement-time 1
	@EMACS=$(EMACS) python3 benches/bench.py

.PHONY: bench-readme
bench-readme: bench-setup ## measure sending, and put the table into README.org
	@EMACS=$(EMACS) python3 benches/bench.py --write README.org

FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: ## hostile input for each reader, FUZZ_SECONDS each; needs cargo-fuzz and a nightly Rust
	@python3 fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ) $(TARGETS)

.PHONY: mutants
mutants: ## change src/smtp in each small way, say what no test notices; needs cargo-mutants
	@python3 test/mutants.py $(MUTANTS)

.PHONY: leaks
leaks: ## ten thousand sends in one process: descriptors, threads and memory stay
	$(CARGO) test --locked --release --test leaks -- --ignored --nocapture

.PHONY: sanitize
sanitize: ## the engine's own tests under AddressSanitizer, with a look for leaks
	@CARGO=$(CARGO) sh test/sanitize.sh $(SANITIZED)

.PHONY: coverage
coverage: ## lines of src/smtp that the engine's tests run; needs cargo-llvm-cov
	@python3 test/coverage.py

##@ Check it without running it

.PHONY: lint
lint: floors licences lint-lisp ## what is checked without running anything
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps -q

.PHONY: lint-lisp
lint-lisp: lisp
	@sh test/package-lint.sh
	@$(BATCH) -L build/package-lint -l test/lint.el -f smtpmail-lint-batch $(LISP)

.PHONY: licences
licences: ## check licences and sources of the crates; with cargo-deny, if it is there
	@python3 test/licences.py

.PHONY: floors
floors: ## check that files import from lower floors only
	@python3 test/floors.py

##@ Read it, use it, install it

.PHONY: doc
doc: doc/smtpmail.info doc/smtpmail.html ## make the manual, Info and HTML

doc/smtpmail.info: doc/smtpmail.texi doc/builtin.texi doc/outbox-screen.txt doc/doctor-report.txt doc/setup-screen.txt doc/trace-screen.txt
	$(MAKEINFO) -I doc --no-split -o $@ $<

doc/smtpmail.html: doc/smtpmail.texi doc/builtin.texi doc/outbox-screen.txt doc/doctor-report.txt doc/setup-screen.txt doc/trace-screen.txt
	$(MAKEINFO) -I doc --html --no-split -o $@ $<

.PHONY: screens
screens: module lisp $(SERVER) ## take the screens of the manual and the README from the program
	@SMTPMAIL_WRITE_SCREENS=1 SERVER=$(SERVER) EMACS=$(EMACS) \
	  sh test/run-ert.sh test/smtpmail-outbox-terminal-tests.el test/smtpmail-send-terminal-tests.el \
	    test/smtpmail-doctor-screen-tests.el test/smtpmail-setup-terminal-tests.el \
	    test/smtpmail-trace-screen-tests.el

.PHONY: doctor
doctor: module lisp ## say why mail does not go; INIT is your init file, ARGS accounts and to=ADDRESS
	@$(BATCH) -l smtpmail -l "$(or $(INIT),$(firstword $(wildcard $(HOME)/.emacs.d/init.el $(HOME)/.emacs) /dev/null))" \
	  -f smtpmail-doctor-batch $(ARGS)

# The `dir' file beside the manual is what makes Emacs list it.
.PHONY: install
install: module lisp doc ## install into LISPDIR, or below PREFIX and DESTDIR
	@mkdir -p "$(DESTDIR)$(LISPDIR)"
	@cp lisp/*.el lisp/*.elc doc/smtpmail.info "$(DESTDIR)$(LISPDIR)/"
	@if command -v install-info >/dev/null; then \
	  install-info "$(DESTDIR)$(LISPDIR)/smtpmail.info" "$(DESTDIR)$(LISPDIR)/dir"; \
	fi
	@cp $(ENGINE) "$(DESTDIR)$(LISPDIR)/$(notdir $(ENGINE)).new"
	@mv "$(DESTDIR)$(LISPDIR)/$(notdir $(ENGINE)).new" "$(DESTDIR)$(LISPDIR)/$(notdir $(ENGINE))"
	@echo 'Installed.  Put this into your init file:'
	@echo '  (load "$(LISPDIR)/smtpmail-autoloads" nil t)'
	@echo "  (setq send-mail-function 'smtpmail-send-it)"

PACKAGE = build/package/smtpmail-$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml).tar

.PHONY: package
package: $(PACKAGE) ## build the archive for package-install-file, crates and engine in it

$(PACKAGE): package/build.py $(ENGINE) $(LISP) doc/smtpmail.info README.org NEWS.org
	@EMACS=$(EMACS) python3 package/build.py build/package $(ENGINE)

# Some minutes: the engine is built from the package, without a network.
.PHONY: test-package
test-package: $(PACKAGE) lisp $(SERVER) ## install the package in clean homes, build its engine offline, send
	@SMTPMAIL_TEST_LIMIT=3600 SMTPMAIL_PACKAGE=$(abspath $(PACKAGE)) SMTPMAIL_USER_HOME="$(HOME)" SERVER=$(SERVER) EMACS=$(EMACS) \
	  sh test/run-ert.sh $(or $(TESTS),test/package/*-tests.el)

.PHONY: clean
clean: ## remove what was built (downloaded servers in build/ stay)
	$(CARGO) clean -q
	rm -f lisp/*.elc lisp/smtpmail-autoloads.el lisp/smtpmail-core.*
	rm -f doc/*.info doc/*.html
	rm -rf build/demo build/test build/package
