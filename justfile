# Every recipe sees to the environment first, so an installed just does what ./just does.

set positional-arguments := true

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")
python := justfile_directory() / ".venv/bin/python"
# Some processes (tests/conftest.py says how many), and each file in one of them. In the order of their names, which has
# the long files first: by the number of their tests, as is usual, those would be the last, with most processes idle.
side_by_side := "--numprocesses auto --dist loadfile --no-loadscope-reorder"

# list the recipes
[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

_ready:
    @./just --ready

# make the environment, and a .env with stores below workdir/ unless there is one
devenv: _ready
    @"{{ python }}" tools/devenv.py

# show a small study from add-job to its outputs; `demo docker` runs it in containers
[no-exit-message]
demo *args: _ready
    @examples/demo.sh "$@"

# run the whole test suite; a Docker engine is started for it where that is possible
[no-exit-message]
test *args: _ready
    @"{{ python }}" docker/engine.py --quiet || true
    @"{{ python }}" -m pytest {{ side_by_side }} "$@"

# run the tests that need neither an engine nor patience
[no-exit-message]
test-fast *args: _ready
    @"{{ python }}" -m pytest {{ side_by_side }} -m "not engine and not slow" "$@"

# watch one study from start to end, with the log
[no-exit-message]
test-verbose *args: _ready
    @"{{ python }}" docker/engine.py --quiet || true
    @"{{ python }}" -m pytest tests/integration/test_study_end_to_end.py -s --log-cli-level=INFO "$@"

# run every test that needs no Docker engine
[no-exit-message]
test-no-docker *args: _ready
    @"{{ python }}" -m pytest {{ side_by_side }} -m "not engine" "$@"

# run the whole test suite and report which lines no test reaches
[no-exit-message]
coverage *args: _ready
    @"{{ python }}" docker/engine.py --quiet || true
    @"{{ python }}" -m coverage erase
    @"{{ python }}" -m coverage run -m pytest "$@"
    @"{{ python }}" -m coverage combine --quiet
    @"{{ python }}" -m coverage report

# kill, cancel and starve the runner at every single step of a job, which takes a quarter of an hour
[no-exit-message]
chaos *args: _ready
    @"{{ python }}" docker/engine.py --quiet || true
    @JOBRUNNER_TESTS_EVERY_STEP=1 "{{ python }}" -m pytest tests/chaos "$@"

# fuzz the reading of project.yaml with mutated real studies: --seconds 60, --seed N
[no-exit-message]
fuzz *args: _ready
    @PYTHONPATH="{{ justfile_directory() }}/tests" "{{ python }}" -m support.project_fuzz "$@"

# check format, lint, types, import contracts and that the lock files are fresh
[no-exit-message]
check: _ready
    @tools/check.sh

# put right what formatter and linter can
[no-exit-message]
fix: _ready
    @ruff check --fix-only --quiet .
    @ruff format --quiet .

# write what derives from the code: docs/states.md, settings.md, commands.md and modules.md, and the completions
docs: _ready
    @"{{ python }}" docs/generate.py

# resolve the lock files anew, with the newest versions
update-dependencies: _ready
    @"{{ python }}" tools/locks.py update
    @./just --ready

# jobrunner add-job: REPO ACTION…
[no-exit-message]
add-job *args: _ready
    @tools/jobrunner.sh {{ quote(invocation_directory()) }} add-job "$@"

# jobrunner run: run what waits
[no-exit-message]
run *args: _ready
    @tools/jobrunner.sh {{ quote(invocation_directory()) }} run "$@"

# jobrunner migrate: create the database or bring it up to date
[no-exit-message]
migrate *args: _ready
    @tools/jobrunner.sh {{ quote(invocation_directory()) }} migrate "$@"

# any jobrunner command
[no-exit-message]
jobrunner *args: _ready
    @tools/jobrunner.sh {{ quote(invocation_directory()) }} "$@"

# make sure that a Docker engine with the test images answers; also: env, status, stop [--purge]
[no-exit-message]
engine *args: _ready
    @"{{ python }}" docker/engine.py "$@"

# stop this checkout's private engine
[no-exit-message]
engine-stop *args: _ready
    @"{{ python }}" docker/engine.py stop "$@"

# make the pictures of the live view in docs/screenshots anew, from a real run of the example study
[no-exit-message]
screenshots: _ready
    @"{{ python }}" docs/screenshots.py

# measure: all benchmarks, or the named one with its options
[no-exit-message]
bench *args: _ready
    @"{{ python }}" docker/engine.py --quiet || true
    @if [ -f "benchmarks/${1-}.py" ]; then \
        name=$1; shift; \
        exec tools/with-engine.sh "{{ python }}" "benchmarks/$name.py" "$@"; \
    fi; \
    for script in benchmarks/*.py; do \
        echo "== $script"; tools/with-engine.sh "{{ python }}" "$script" "$@"; \
    done
