# Two commands for a newcomer: `make run` and `make test`. Everything else is here too.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# The tests start Python some thousand times: what it compiled once is kept in __pycache__, also where an image says otherwise.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install run test test-all soak lint bench oracle attacks clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml scripts/install
	@PYTHON=$(PYTHON) scripts/install $(VENV)
	@touch $@

run: install
	@exec $(BIN)/fhir-gateway serve --demo

lint: install
	$(BIN)/ruff check fhir_gateway tests scripts benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: install lint
	$(BIN)/pytest -q -n 2 --dist loadfile --timeout 300 -m "not e2e and not interop and not slow and not story"

# What CI runs: `make test` first, then browsers, peers, faults and long properties, printing the time of each part.
test-all: install
	scripts/test-all

# What takes hours: the long properties with many more examples, the faults, 500 plans with each real peer in each of its settings, and each
# parser under a fuzzer: make soak [FUZZ=seconds for each]
FUZZ ?= 600
soak: install
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group all
	SOAK=100 $(BIN)/pytest -q -m "slow and not e2e and not interop and not story"
	SOAK=100 $(BIN)/pytest -q -m interop tests/interop/test_scenario.py tests/interop/test_scenario_gateways.py
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ)

bench: install
	$(BIN)/python -m benchmarks

# Fresh mutations of the examples, asked of our validator and of HL7's own: make oracle N=2000 SEED=abc [CASE=17 | EXAMPLES=1 PAGE=FILE.md] [PROFILES=1]
N ?= 2000
oracle: install
	@$(BIN)/python -m tests.oracle --n $(N) $(if $(SEED),--seed $(SEED)) $(if $(CASE),--case $(CASE)) $(if $(EXAMPLES),--examples) $(if $(PROFILES),--profiles) $(if $(PAGE),--page $(PAGE))

# Hostile requests from a file, against a seeded gateway: make attacks CASES=FILE [OUT=FILE] (docs/attacks.md); paths from the caller's folder
attacks: install
	@$(BIN)/python -m tests.attacks "$(CASES)" --folder "$${FROM:-$(PWD)}" $(if $(OUT),--out "$(OUT)") $(if $(ONLY),--only "$(ONLY)")

clean:
	rm -rf $(VENV) .data .data-journal .work
