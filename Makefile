# The commands of the project; each sets up .venv from requirements.lock when it has to.
UV = $(shell command -v uv || echo .venv-uv/bin/uv)
PYTHON = .venv/bin/python
STAMP = .venv/.complete

.PHONY: demo test check lock clean

demo: $(STAMP)
	.venv/bin/mien demo

test: $(STAMP)
	$(PYTHON) -m pytest -n 2 --dist loadfile

check: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# Universal, hashed, without the address of any index.
lock: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --all-extras pyproject.toml --output-file requirements.lock

$(STAMP): requirements.lock pyproject.toml $(UV)
	$(UV) venv --quiet --allow-existing --no-python-downloads --python '>=3.11' .venv
	$(UV) pip sync --quiet --python $(PYTHON) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(PYTHON) --no-deps --editable .
	touch $@

.venv-uv/bin/uv:
	python3 -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet uv

clean:
	rm -rf .venv .venv-uv runs build dist
