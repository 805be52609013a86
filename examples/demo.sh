#!/bin/sh
# Runs the sample study in a fresh temporary work directory, as a user would, and shows what came out.
#
#   examples/demo.sh            each command on this machine, without a container engine
#   examples/demo.sh docker     each command in a container
set -eu

here=$(cd "$(dirname "$0")" && pwd)
executor=${1:-process}
case $executor in
    process | docker) ;;
    *)
        echo "demo: $executor is neither process nor docker" >&2
        exit 2
        ;;
esac

# The private engine of this checkout, where `just engine` has made one; else the one that is configured.
if [ "$executor" = docker ] && [ -z "${DOCKER_HOST:-}" ]; then
    eval "$(python3 "$here/../docker/engine.py" env)"
fi

base=$(mktemp -d "${TMPDIR:-/tmp}/jobrunner-demo.XXXXXX")
mkdir "$base/elsewhere"
cp -R "$here/study" "$base/study"

# Nothing that this machine has configured changes what the demo shows.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
for name in $(sed -n 's/^#* *\([A-Z][A-Z0-9_]*\)=.*/\1/p' "$here/../dotenv-sample"); do
    unset "$name"
done
export WORKDIR="$base/workdir" EXECUTOR="$executor" MAX_WORKERS=2 XDG_CONFIG_HOME="$base/config"
cd "$base/elsewhere"

study_git() {
    git -C "$base/study" -c user.name=demo -c user.email=demo@localhost -c commit.gpgsign=false "$@"
}
study_git init --quiet --initial-branch=main
study_git add --all
study_git commit --quiet --message "A study of made-up patients"

say() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
}
# Bold only where somebody looks.
[ -t 1 ] || say() {
    printf '\n$ %s\n' "$*"
}
show() {
    say "$@"
    "$@"
}

show jobrunner migrate
show jobrunner add-job "$base/study" run_all
show jobrunner run --until-idle
show jobrunner jobs ls

printf '\nThe high privacy store has every output:\n'
(cd "$WORKDIR/high_privacy/workspaces" && find test -type f ! -name '.*' | sort | sed 's/^/  /')
printf '\nThe medium privacy store has what may be looked at by those who check outputs:\n'
(cd "$WORKDIR/medium_privacy/workspaces" && find test -type f ! -name '.*' | sort | sed 's/^/  /')
printf '\nOne table was held back, and a note says why:\n'
sed 's/^/  /' "$WORKDIR/medium_privacy/workspaces/test/output/frequent_visitors.csv.txt"

show jobrunner jobs logs test/describe_ages

engine=
[ "$executor" = process ] || engine=" DOCKER_HOST=${DOCKER_HOST:-}"
cat <<END

Everything is in $base (remove it when you have seen enough). To go on from here:

  export PATH="$(dirname "$(command -v jobrunner)"):\$PATH"
  export WORKDIR=$WORKDIR EXECUTOR=$executor$engine
  jobrunner jobs show test/list_frequent_visitors     # what was held back, and why
  jobrunner add-job $base/study run_all               # nothing left to do, and it says so
  jobrunner add-job $base/study describe_ages --wait  # run one action again
END
