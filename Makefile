# Everything is built in one profile, --release, and for the whole workspace: so the dependencies are compiled once, whichever of
# these commands comes first. CARGO_TARGET_DIR is respected; LIBTORCH too (see experiments/setup-libtorch).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup build run test format clean

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

# A test that lacks something optional writes `test skipped: why` past the harness, straight to stderr, and passes. It is counted as
# skipped here, like a test that is marked `ignore`.
test: ## all checks: format, tests, clippy, documentation
	@log=$$(mktemp)
	trap 'rm -f "$$log"' EXIT
	failed=() times=()
	step() {
	    local name=$$1 start=$$SECONDS
	    shift
	    printf '\n== %s\n' "$$name"
	    "$$@" || failed+=("$$name")
	    times+=("$$name $$((SECONDS - start)) s")
	    printf '== %s\n' "$${times[-1]}"
	}
	format() {
	    cargo fmt --all --check && rustfmt --edition 2024 --check plugins/src/*.rs ||
	        { echo 'hint: make format' >&2; return 1; }
	}
	tests() { cargo test --release --workspace --no-fail-fast 2>&1 | tee "$$log"; }
	step setup $(MAKE) --no-print-directory setup
	if [ $${#failed[@]} -eq 0 ]; then
	    step format format
	    step build cargo test --release --workspace --no-run
	    step tests tests
	    step clippy cargo clippy --release --workspace --all-targets -- -D warnings
	    step documentation env RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps
	fi
	skips=$$(grep -o 'test skipped: ' "$$log" | wc -l) || true
	read -r ran passed broken skipped < <(grep -o 'test result: .*' "$$log" | awk -v skips="$$skips" '
	    { passed += $$4; failed += $$6; ignored += $$8 }
	    END { print passed + failed + ignored, passed - skips, failed + 0, ignored + skips }')
	[ "$$ran" -gt 0 ] && [ "$$broken" -eq 0 ] || [ $${#failed[@]} -gt 0 ] || failed=(tests)
	printf '\ntimes: %s\n' "$$(IFS=,; sed 's/,/, /g' <<<"$${times[*]}")"
	[ $${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "$${failed[*]}"
	printf '%s tests ran: %s passed, %s failed, %s skipped\n' "$$((ran - skipped))" "$$passed" "$$broken" "$$skipped"
	[ $${#failed[@]} -eq 0 ]

format: ## formats the sources; `cargo fmt` alone does not find the plugins, which a build script lists
	@cargo fmt --all
	rustfmt --edition 2024 plugins/src/*.rs

clean: ## what was built; runs/, report/ and libtorch stay
	@cargo clean
