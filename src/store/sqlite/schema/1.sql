-- One line a run. Times are Unix seconds.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,         -- names the run in the other tables
    id TEXT NOT NULL UNIQUE,            -- names it everywhere else
    key TEXT NOT NULL,                  -- the idempotency key that opened it
    fingerprint TEXT NOT NULL,          -- of everything that its client said
    name TEXT NOT NULL,                 -- for people
    project TEXT NOT NULL,
    experiment TEXT NOT NULL,           -- empty: of none
    tags TEXT NOT NULL,                 -- JSON: {"name": "text"}
    model_type TEXT NOT NULL,
    parameters INTEGER NOT NULL,        -- of the model
    config_json TEXT NOT NULL,
    groups TEXT NOT NULL,               -- JSON: [{"name": …, "digest": …}]; the tensors are probes/DIGEST.safetensors
    measures TEXT NOT NULL,             -- JSON: [{"name": …, "parameters": {…}}], defaults filled in
    plan TEXT NOT NULL,                 -- JSON: what each measure was planned to cost
    seed TEXT NOT NULL,                 -- decimal; up to 64 bits without a sign
    delivery TEXT NOT NULL,             -- latest or every
    precision TEXT NOT NULL,            -- f32 or f64
    budget REAL,                        -- seconds that a snapshot may take
    gpu_only INTEGER NOT NULL,          -- 0 or 1
    policy TEXT,                        -- JSON: when it should stop
    opened_at REAL NOT NULL,
    closed_at REAL,                     -- since then it takes no more snapshots
    ended_at REAL,                      -- since then all of them are measured, too
    next_sequence INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0, -- snapshots received whole
    measured INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,  -- will not be measured
    last_accepted_step INTEGER,
    last_accepted_attempt INTEGER,
    last_measured_step INTEGER,
    last_measured_attempt INTEGER,
    decision TEXT                       -- JSON: what the policy said last
) STRICT;

-- One line a snapshot that was received whole.
CREATE TABLE snapshots (
    run INTEGER NOT NULL REFERENCES runs (number),
    step INTEGER NOT NULL,              -- of more than 63 bits in two's complement
    attempt INTEGER NOT NULL,           -- from 1; a repeated or rewound step gets the next one
    id TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- live, master, ema or swa
    initialization INTEGER NOT NULL,    -- 0 or 1: the reference of distances
    digest TEXT NOT NULL,               -- SHA-256 of its bytes
    key TEXT,                           -- idempotency key of its upload
    print TEXT,                         -- fingerprint of what that announced
    receipt TEXT NOT NULL,              -- JSON: what its client got
    state TEXT NOT NULL,                -- waiting, measuring, measured or skipped
    reason TEXT,                        -- why it was skipped
    accepted_at REAL NOT NULL,
    seconds REAL,                       -- from the start to the end of its measurement
    accepted INTEGER NOT NULL,          -- sequence numbers of its events
    started INTEGER,
    finished INTEGER,
    file TEXT,                          -- snapshots/FILE.safetensors, where later snapshots are compared with it
    PRIMARY KEY (run, step, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshots_in_order ON snapshots (run, accepted);
CREATE INDEX snapshots_pending ON snapshots (run) WHERE state IN ('waiting', 'measuring');
CREATE INDEX snapshots_files ON snapshots (run) WHERE file IS NOT NULL;

-- One line a reading: of one measure of one snapshot on one probe group.
CREATE TABLE readings (
    run INTEGER NOT NULL REFERENCES runs (number),
    sequence INTEGER NOT NULL,          -- its place among all events of the run
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    measure TEXT NOT NULL,
    place INTEGER,                      -- which of the run's measures, from 0: its parameters stand there
    probe_group TEXT,                   -- NULL: of the weights alone
    outcome TEXT NOT NULL,              -- measured, undefined, unavailable, failed or skipped
    value REAL,                         -- NULL: there is none, or see odd in detail
    stderr REAL,
    seconds REAL,                       -- wall time; what it shares with others counts where it was first needed
    forwards REAL,                      -- over the examples of the group
    backwards REAL,
    passes REAL,                        -- over all parameters
    operations REAL,                    -- beside the network
    detail TEXT,                        -- JSON: mean, min, max, draws, ended, parts, tensors, rungs, runs, surface,
                                        -- reason, remark; NULL: none of them
    PRIMARY KEY (run, sequence)
) STRICT, WITHOUT ROWID;

-- All other events of a run; with the readings they are numbered from 0 without holes.
CREATE TABLE events (
    run INTEGER NOT NULL REFERENCES runs (number),
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,                 -- accepted, skipped, started, finished, decided or closed
    body TEXT NOT NULL,                 -- JSON
    PRIMARY KEY (run, sequence)
) STRICT, WITHOUT ROWID;
