# Everything is built in one profile, --release, and for the whole workspace: so the dependencies are compiled once, whichever of
# these commands comes first. CARGO_TARGET_DIR is respected; LIBTORCH too (see experiments/setup-libtorch).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup build run wheel check test format clean

help: ## this list
	@echo "make ..."
	sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || sed -n 's/:.*##/:/p' Makefile

setup: ## libtorch (in ~/.cache/litesnn) and .cargo/config.toml; checks cargo and the C++ compiler
	@experiments/setup-libtorch >/dev/null

build: setup ## the litesnn command, optimized
	@cargo build --release --workspace

run: build ## the quick start: search, retrain and evaluate a small network, then a page with tables and figures
	@cargo run --release --quiet -- run experiments/quickstart.toml
	cargo run --release --quiet -- report --out report
	printf '\nThe page is %s\n' '$(CURDIR)/report/index.html'

wheel: setup ## dist/litesnn-*.whl: the command for pip, on Linux with glibc 2.28 or newer
	@experiments/python/build-wheel --out dist

# Tests share the cores: threads of libtorch that wait for each other sleep, instead of spinning for a core that another test has.
check test: export OMP_WAIT_POLICY ?= passive

# Tests that take minutes, by their file or by a part of their name: trials that are stopped and killed, faults, a Slurm cluster, a
# pretended GPU, an installed wheel.
# `make check` leaves them out.
slow := faults slurm pretended_device gpu_check wheel
slow_names := interruption:: killed
# The other files of integration tests, by their names.
files := $(wildcard tests/*.rs */tests/*.rs */*/tests/*.rs */*/*/tests/*.rs)
folders := $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs */tests/*/main.rs */*/tests/*/main.rs))
quick := $(filter-out $(slow),$(notdir $(basename $(files)) $(folders)))

check: ## the daily loop: format, clippy, unit tests and the quick end-to-end tests
check: steps := format clippy build tests
check: parts := selected
check: selected := --lib $(quick:%=--test %)
check: skipped := $(slow_names:%=--skip %)

test: ## all checks: format, tests, clippy, documentation
test: steps := format build tests clippy documentation
test: parts := selected examples
test: selected := --lib --bins --test faults --test pretended_device --test gpu_check --test wheel $(quick:%=--test %)
test: skipped :=
# Tests that wait more than they compute run beside the others.
test: waiting := --test slurm

# A test that lacks something optional writes `test skipped: why` past the harness, straight to stderr, and passes. It is counted as
# skipped here, like a test that is marked `ignore`.
check test:
	@log=$$(mktemp)
	trap 'rm -rf "$$log" "$$log.waiting" "$$folders"' EXIT
	failed=() times=() folders=
	# A trial waits for the disk after every epoch. What tests write lies in memory, where there are 4 GB of room and programs may run.
	if [ -z "$${TMPDIR:-}" ] && [ "$$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)" -ge 4000000 ] 2>/dev/null &&
	    ! grep -q ' /dev/shm [^ ]* [^ ]*noexec' /proc/mounts; then
	    folders=$$(mktemp -d /dev/shm/litesnn-tests-XXXXXX)
	    chmod 755 "$$folders"
	    export TMPDIR=$$folders
	fi
	step() {
	    local name=$$1 start=$$SECONDS
	    printf '\n== %s\n' "$$name"
	    "$$name" || failed+=("$$name")
	    times+=("$$name $$((SECONDS - start)) s")
	    printf '== %s\n' "$${times[-1]}"
	}
	setup() { $(MAKE) --no-print-directory setup; }
	format() { cargo fmt --all --check || { echo 'hint: make format' >&2; return 1; }; }
	clippy() { cargo clippy --release --workspace --all-targets -- -D warnings; }
	build() { cargo test --release --workspace $(selected) $(waiting) --no-run; }
	run() { cargo test --release --workspace --no-fail-fast "$$@" 2>&1; }
	waiting() { [ -z '$(waiting)' ] || run $(waiting); }
	selected() { run $(selected) -- $(skipped) | tee -a "$$log"; }
	examples() { run --doc | tee -a "$$log"; }
	tests() {
	    local status=0 part
	    waiting >"$$log.waiting" &
	    for part in $(parts); do "$$part" || status=1; done
	    wait $$! || status=1
	    tee -a "$$log" <"$$log.waiting"
	    return $$status
	}
	documentation() { RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps; }
	step setup
	if [ $${#failed[@]} -eq 0 ]; then
	    for name in $(steps); do step "$$name"; done
	fi
	skips=$$(grep -o 'test skipped: ' "$$log" | wc -l) || true
	read -r ran passed broken skipped < <(grep -o 'test result: .*' "$$log" | awk -v skips="$$skips" '
	    { passed += $$4; failed += $$6; ignored += $$8 }
	    END { print passed + failed + ignored, passed - skips, failed + 0, ignored + skips }')
	[ "$$ran" -gt 0 ] && [ "$$broken" -eq 0 ] || [ $${#failed[@]} -gt 0 ] || failed=(tests)
	printf '\ntimes: %s\n' "$$(IFS=,; sed 's/,/, /g' <<<"$${times[*]}")"
	printf 'slowest: %s\n' "$$(awk '
	    / Running / { name = $$NF; sub(/.*\//, "", name); sub(/-[0-9a-f]*\)$$/, "", name) }
	    / Doc-tests / { name = "documentation of " $$NF }
	    /^test result: / { print $$NF, name }' "$$log" | sort -rn | head -n 8 | paste -sd , | sed 's/,/, /g')"
	[ $${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "$${failed[*]}"
	printf '%s tests ran: %s passed, %s failed, %s skipped\n' "$$((ran - skipped))" "$$passed" "$$broken" "$$skipped"
	[ $${#failed[@]} -eq 0 ]

format: ## formats the sources
	@cargo fmt --all

clean: ## what was built; runs/, report/ and libtorch stay
	@cargo clean
