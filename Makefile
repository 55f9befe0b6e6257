# `make run` and `make test` need a Rust toolchain, a C compiler and Python with pip; `make help` lists the rest.

ADDR ?= 127.0.0.1:8080
CARGO ?= cargo
# libjpeg-turbo decodes JPEG, with SIMD where nasm is at hand (`make deps` gets it); spans go to OpenTelemetry
# collectors. FEATURES= builds without both.
FEATURES ?= $(if $(shell command -v nasm),jpeg-turbo-simd,jpeg-turbo),otlp
export CMAKE ?= $(or $(shell command -v cmake),$(CURDIR)/.tools/cmake/cmake/data/bin/cmake)
CARGO_FLAGS = --locked --no-default-features $(if $(FEATURES),--features $(FEATURES))

TARGET := $(or $(CARGO_TARGET_DIR),target)
WHEEL_PROFILE ?= release
WHEELS ?= $(TARGET)/wheels

.DEFAULT_GOAL := help
.PHONY: help run build wheel deb sbom test test-python test-interop compose-test lint dependencies doc onnxruntime cmake deps bench microbench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build the release binary and serve the default model on 127.0.0.1:8080 (ADDR=host:port)
	@echo "== Serving on http://$(ADDR); stop with Ctrl-C"
	$(TARGET)/release/repserve serve --listen $(ADDR)

build: onnxruntime cmake ## Build the release binary
	@echo "== Building the release binary$(if $(FEATURES), with $(FEATURES),: the image crate decodes JPEG)"
	$(CARGO) build --release $(CARGO_FLAGS)
	@$(if $(findstring jpeg-turbo-simd,$(FEATURES)),:,echo "== Note: nasm is missing, so JPEG is decoded about 1.7 times as slowly; \`make deps build\` mends it")

wheel: cmake ## Build the Python wheel, which holds the binary, into target/wheels/ (needs nasm)
	@command -v nasm >/dev/null || { echo "the wheel's binary decodes JPEG with SIMD, for which nasm is missing: \`make deps\` installs it" >&2; exit 1; }
	@sh docker/fetch-tool.sh maturin
	@echo "== Building the wheel"
	@rm -f $(WHEELS)/repserve-*.whl
	.tools/maturin/bin/maturin build --quiet --locked --profile $(WHEEL_PROFILE) $(if $(filter release,$(WHEEL_PROFILE)),,--strip) --out $(WHEELS)
	@ls $(WHEELS)/repserve-*.whl

deb: onnxruntime cmake ## Build the Debian package, with ONNX Runtime and the systemd unit, into target/debian/ (needs nasm)
	@docker/make-deb.sh

sbom: ## Write target/repserve.cdx.json: what the release binary is made of (CycloneDX)
	@mkdir -p $(TARGET)
	python3 .ci/sbom.py $(FEATURES) >$(TARGET)/repserve.cdx.json

test: onnxruntime cmake ## Run every test that needs Rust and ONNX Runtime only
	@echo "== Running the tests"
	$(CARGO) test --workspace $(CARGO_FLAGS)

test-python: ## Build the wheel, install it into a fresh environment and test it there
	@tests/python/run

test-interop: onnxruntime cmake ## Run the tests against other programs: Triton's client, Prometheus, a browser and more (installs them)
	@FEATURES=$(FEATURES) tests/interop/run

compose-test: ## Build the image, bring the compose files up, restart and kill replicas under load (needs a Docker Engine)
	docker/compose-test

lint: cmake ## Check formatting, clippy, documentation and licences
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace $(CARGO_FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
	$(MAKE) --no-print-directory dependencies

dependencies: ## Check every dependency's licence, source and oldest Rust; its advisories where cargo-deny has a database
	python3 .ci/dependencies.py
	@if cargo deny --version >/dev/null 2>&1 && [ -d "$${CARGO_HOME:-$$HOME/.cargo}/advisory-dbs" ]; then \
		cargo deny --all-features check advisories; \
	else \
		echo "advisories are not checked: no cargo-deny, or it has no database here"; \
	fi

doc: ## Build the documentation of all crates
	$(CARGO) doc --locked --workspace --no-deps

onnxruntime: ## Fetch ONNX Runtime (pinned, by hash) into .onnxruntime/
	@sh docker/fetch-onnxruntime.sh

cmake:
	@if [ -n "$(FEATURES)" ]; then sh docker/fetch-tool.sh cmake; fi

deps: ## Install cmake and nasm with the system's packages: libjpeg-turbo with its SIMD code
	@sh docker/install-build-tools.sh

bench: build ## Measure the server beside a bare loop; table and plots into docs/benchmarks
	$(TARGET)/release/repserve bench --seconds 5 --rounds 3 --out docs/benchmarks --force
	$(CARGO) run --locked -p repserve-plots docs/benchmarks

microbench: onnxruntime cmake ## Time decoding, fusing and the kernels alone
	$(CARGO) bench --workspace $(CARGO_FLAGS)

clean: ## Remove what was built (not .onnxruntime/)
	$(CARGO) clean
