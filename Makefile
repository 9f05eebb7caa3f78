# The commands of the project; each sets up .venv from requirements.lock when it has to.
UV = $(shell command -v uv || echo .venv-uv/bin/uv)
PYTHON = .venv/bin/python
STAMP = .venv/.complete

.PHONY: demo test test-highest test-lowest-direct check lock clean

demo: $(STAMP)
	.venv/bin/mien demo

test: $(STAMP)
	$(PYTHON) -m pytest -n 2 --dist loadfile

# The tests with the newest and with the oldest packages that pyproject.toml allows, of which requirements.lock says
# nothing; another Python by WITH=3.13. What libraries announce for their own future is no failure here.
WITH = >=3.11
test-highest test-lowest-direct: test-%: $(UV)
	$(UV) venv --quiet --clear --no-python-downloads --python '$(WITH)' .venv-$*
	$(UV) pip install --quiet --python .venv-$*/bin/python --resolution $* --all-extras -r pyproject.toml
	$(UV) pip install --quiet --python .venv-$*/bin/python --no-deps --editable .
	PYTEST_ADDOPTS='-o filterwarnings=default' .venv-$*/bin/python -m pytest -n 2 --dist loadfile

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
	rm -rf .venv .venv-* runs build dist
