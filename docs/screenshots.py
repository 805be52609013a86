"""The pictures of `jobrunner tui` in docs/screenshots/: made from a real run of the example study, by `just screenshots`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = Path(__file__).parent / "screenshots"
#: Actions that make the pictures livelier: one runs on, one fails, one waits for both.
MORE = """
  fit_model:
    run: >-
      python:v2 python -u -c "import time; [(print(f'iteration {n:3}: log likelihood {-5000 / n - 812:.3f}'), time.sleep(.3)) for n in range(1, 900)]"
    needs: [generate_patients]
    outputs:
      moderately_sensitive:
        model: output/model.txt
  check_codes:
    run: python:v2 python -c "raise SystemExit('unknown code E11.9 in row 17')"
    needs: [generate_patients]
    outputs:
      moderately_sensitive:
        codes: output/codes.csv
  compare_models:
    run: python:v2 python -c "print('never')"
    needs: [fit_model, describe_ages]
    outputs:
      moderately_sensitive:
        comparison: output/comparison.csv
"""
#: File -> size, and the rest of the command.
WANTED = {
    "overview.svg": ("120x34", ["--job", "diabetes-2026/fit_model", "--tab", "log"]),
    "graph.svg": ("132x40", ["--job", "diabetes-2026/generate_patients", "--tab", "graph"]),
    "small.svg": ("80x24", ["--job", "diabetes-2026/compare_models"]),
    "cancel.svg": ("100x28", ["--job", "diabetes-2026/fit_model", "--press", "c"]),
    "add-job.svg": ("100x30", ["--job", "diabetes-2026/fit_model", "--press", "a,space,ctrl+s"]),
}


def main() -> None:
    """Make all pictures anew."""
    base = Path(tempfile.mkdtemp(prefix="jobrunner-pictures-"))
    study = base / "study"
    shutil.copytree(ROOT / "examples" / "study", study)
    with (study / "project.yaml").open("a") as project:
        project.write(MORE)
    git = ["git", "-C", str(study), "-c", "user.name=docs", "-c", "user.email=docs@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "A study"]):
        subprocess.run([*git, *words], check=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '')}",
        "WORKDIR": str(base / "workdir"),
        "XDG_CONFIG_HOME": str(base / "config"),
        "EXECUTOR": "process",
        "MAX_WORKERS": "4",
    }

    def jobrunner(*words: str) -> str:
        command = [sys.executable, "-m", "jobrunner_cli", *words]
        return subprocess.run(command, env=environment, cwd=base, check=True, capture_output=True, text=True).stdout

    jobrunner("migrate")
    for workspace in ("asthma-monitoring", "diabetes-2026"):
        jobrunner("add-job", str(study), "run_all", "--workspace", workspace)
    runner = subprocess.Popen([sys.executable, "-m", "jobrunner_cli", "run"], env=environment, cwd=base)
    try:
        wait_until_only_these_are_left(jobrunner, {"fit_model", "compare_models"})
        PICTURES.mkdir(exist_ok=True)
        for name, (size, words) in WANTED.items():
            jobrunner("tui", "--screenshot", str(PICTURES / name), "--size", size, *words)
            print(PICTURES / name)
        for workspace in ("asthma-monitoring", "diabetes-2026"):
            jobrunner("jobs", "cancel", f"{workspace}/fit_model", "--yes")
    finally:
        runner.send_signal(signal.SIGTERM)
        runner.wait()
        shutil.rmtree(base, ignore_errors=True)


def wait_until_only_these_are_left(jobrunner, actions: set[str]) -> None:
    """Return when all other jobs have ended."""
    for _ in range(240):
        active = {job["action"] for job in json.loads(jobrunner("jobs", "ls", "--active", "--json"))}
        if active <= actions:
            time.sleep(12)
            return
        time.sleep(0.5)
    raise SystemExit("the study does not get on")


if __name__ == "__main__":
    main()
