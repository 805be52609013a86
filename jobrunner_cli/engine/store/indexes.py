"""The indexes of the table of jobs, and the condition by which a query goes through the one of unfinished jobs.

This imports nothing: completion needs the condition, and somebody waits at a key.
"""

from __future__ import annotations

#: Jobs that have not ended. A query goes through their index only if it repeats the index's condition word for word.
UNFINISHED = "state NOT IN ('failed', 'succeeded')"

#: The indexes of a new database; migrations make them in one that exists.
OF_JOBS = f"""
    CREATE INDEX idx_job__job_request_id ON job (job_request_id);
    CREATE INDEX idx_job__state ON job (state) WHERE {UNFINISHED};
    CREATE INDEX idx_job__workspace_action ON job (workspace, action, created_at);
    CREATE INDEX idx_job__state_created_at ON job (state, created_at);
    CREATE INDEX idx_job__workspace_state ON job (workspace, state, created_at);
"""
