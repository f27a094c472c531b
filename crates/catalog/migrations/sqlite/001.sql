-- One row: the numbers that go up, and the end of the audit log. Whoever writes changes it first.
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL,
    audit_seq BIGINT NOT NULL,
    audit_hash BLOB NOT NULL,
    key_id TEXT,
    sealed_key BLOB
);
INSERT INTO head (id, revision, audit_seq, audit_hash) VALUES (1, 0, 0, x'');

-- Every value that an object ever had. Nothing here is changed.
CREATE TABLE version (
    id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    owner TEXT,
    spec TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    is_managed BIGINT NOT NULL,
    applied_revision BIGINT,
    is_deleted BIGINT NOT NULL,
    changed_by TEXT,
    PRIMARY KEY (id, revision)
) WITHOUT ROWID;
CREATE INDEX version_by_workspace ON version (workspace, revision);

-- Which version of an object counts.
CREATE TABLE living (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    UNIQUE (workspace, kind, name)
) WITHOUT ROWID;
CREATE INDEX living_by_kind ON living (kind);

-- What lists are filtered and ordered by comes from the living, whose index has it in order.
CREATE VIEW object AS
    SELECT l.id, l.revision, l.workspace, l.kind, l.name, v.labels, v.owner, v.spec, v.created_at_us, v.updated_at_us,
        v.is_managed, v.applied_revision
    FROM living l JOIN version v ON v.id = l.id AND v.revision = l.revision;

-- Of the living, for filters and for what names what.
CREATE TABLE label (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (id, name)
) WITHOUT ROWID;
CREATE INDEX label_by_value ON label (name, value);
CREATE TABLE reference (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (id, kind, name)
) WITHOUT ROWID;
CREATE INDEX reference_by_name ON reference (workspace, kind, name);

CREATE TABLE idempotency (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    request_sha256 BLOB NOT NULL,
    answer TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (at_us);

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_us BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    principal TEXT,
    token TEXT,
    action TEXT NOT NULL,
    kind TEXT,
    object TEXT,
    name TEXT,
    result TEXT NOT NULL,
    revision BIGINT,
    request TEXT,
    agent TEXT,
    detail TEXT NOT NULL,
    address TEXT,
    address_hash BLOB,
    hash BLOB NOT NULL
);
CREATE INDEX audit_by_object ON audit (object, seq);
CREATE INDEX audit_by_principal ON audit (principal, seq);

CREATE TABLE secret (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (workspace, name)
) WITHOUT ROWID;
CREATE INDEX secret_by_key ON secret (key_id);

-- What is looked up by the hash of what is shown: API tokens and write keys.
CREATE TABLE credential (
    hash BLOB PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    last_used_at_us BIGINT
) WITHOUT ROWID;

CREATE TABLE password (
    id TEXT PRIMARY KEY,
    phc TEXT NOT NULL,
    changed_at_us BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE session (
    hash BLOB PRIMARY KEY,
    id TEXT NOT NULL,
    opened_at_us BIGINT NOT NULL,
    seen_at_us BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_by_user ON session (id);

CREATE TABLE draft (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    author TEXT NOT NULL,
    title TEXT NOT NULL,
    base_revision BIGINT NOT NULL,
    edits TEXT NOT NULL,
    fields TEXT NOT NULL,
    state TEXT NOT NULL,
    proposed_at_us BIGINT NOT NULL,
    decided_by TEXT,
    decided_at_us BIGINT,
    revision BIGINT
) WITHOUT ROWID;
CREATE INDEX draft_by_time ON draft (workspace, proposed_at_us);
