# Commands for developers. Each sets up what it needs; only Python 3.11 or later must be installed.
# PYTHON=/path/to/python selects the interpreter for a new .venv.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install run test browser pictures test-lowest fuzz abuse soak faults cluster check format bench docs wheel clean develop

export PYTHON
unexport PYTHONDONTWRITEBYTECODE  # without a cache each process of `make test` compiles all tests: 10 s in each

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F '|' '{ printf "%-20s %s\n", $$1, $$2 }'

install:  ## install the antiphon command in .venv
	@sh tools/install.sh .venv

run: install  ## start a server and talk to it
	@exec .venv/bin/antiphon demo

test: develop  ## run the tests
	@exec .venv/bin/python -m pytest -q -n 4 --dist worksteal

browser: develop  ## run the tests of the status page in a real browser
	@exec .venv/bin/python -m pytest -q -p no:xdist --durations=5 tests/server/status/page/test_browser.py

pictures: develop  ## make the pictures of the README anew; needs a browser as make browser does
	@PYTHONPATH=tests exec .venv/bin/python -m support.pictures

check: develop  ## check format, lint, types and layers
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

format: develop  ## format the sources
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench:  ## measure the speed in comparison with other servers
	@sh tools/install.sh .venv bench
	@exec .venv/bin/python benchmarks/run.py

docs: develop  ## build the documents as HTML; start at build/docs/index.html
	@exec .venv/bin/python -m sphinx -q -W --keep-going -b html docs build/docs

wheel:  ## build a wheel for servers like this machine, and its sources, in dist
	@sh tools/install.sh .venv wheel
	@said=$$(.venv/bin/python -m build --outdir dist 2>&1) || { echo "$$said" >&2; exit 1; }; \
		echo "$$said" | sed -n 's/^.*\(antiphon: no C\)/\1/p; /^Successfully/p'

test-lowest:  ## run the tests with the oldest dependencies that pyproject.toml allows
	@PYTHON="$${PYTHON:-python3.11}" sh tools/install.sh .venv-lowest dev lowest
	@exec .venv-lowest/bin/python -m pytest -q -n 3 --dist worksteal

fuzz: develop  ## fuzz the parts in C, built with sanitizers
	@exec .venv/bin/python tools/fuzz.py

abuse: develop  ## attack servers on this machine for longer than the tests do, and install one
	@ABUSE_LONG=1 .venv/bin/python -m pytest -q -m "long or not long" tests/abuse tests/deploy tests/server/workers

soak: develop  ## move, cut, kill and freeze real servers at random for half an hour
	@PYTHONPATH=tests exec .venv/bin/python -m model.soak

cluster: develop  ## talk through a balancer to two nodes on PostgreSQL while one is killed; STAY=1 to try it by hand
	@PYTHONPATH=tests exec .venv/bin/python tools/cluster.py $(if $(STAY),--stay)

faults: develop  ## stop, kill, freeze, slow and cut off the database of two nodes
	@PYTHONPATH=tests exec .venv/bin/python -m faults.run

clean:  ## remove .venv and the files of the tools; the data of `make run` stays
	@rm -rf .venv .venv-lowest build dist benchmarks/load benchmarks/echo benchmarks/answer
	@find . -type d '(' -name __pycache__ -o -name '.*_cache' -o -name .hypothesis ')' -prune -exec rm -rf {} +
	@find src -type f -name '_*.so' -exec rm -f {} +

develop:
	@sh tools/install.sh .venv dev
